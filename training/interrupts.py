"""What Ctrl-C does before the training job handles it; imports nothing that takes time."""

import signal


def quiet_interrupts() -> None:
    """Let Ctrl-C end the program without a traceback, as it ends others; training itself handles it from its start on."""
    if signal.getsignal(signal.SIGINT) == signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
