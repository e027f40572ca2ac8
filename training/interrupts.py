"""What Ctrl-C does before the training job handles it; imports nothing that takes time."""

import signal


def quiet_interrupts() -> None:
    """Let Ctrl-C end the program without a traceback, as it ends others; training itself handles it from its start on.

    SIGUSR1, which asks a run to save, changes nothing before that: by default it would end the program.
    """
    if signal.getsignal(signal.SIGINT) == signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    if signal.getsignal(signal.SIGUSR1) == signal.SIG_DFL:
        signal.signal(signal.SIGUSR1, signal.SIG_IGN)
