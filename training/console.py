"""The console script ``gan-train``, and what the program does before it imports torch."""

import signal
import sys


def quiet_interrupts() -> None:
    """Let Ctrl-C end the program without a traceback, as it ends others; training itself handles it from its start on."""
    if signal.getsignal(signal.SIGINT) == signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)


def run() -> int:
    """Run the command line; where the wheel was installed without the extra that it needs, say so."""
    quiet_interrupts()
    try:
        from training.__main__ import main
    except ModuleNotFoundError as error:
        print(f"gan-train needs {error.name}: pip install 'gan-serve[train]'", file=sys.stderr)
        return 2
    return main(sys.argv[1:], prog="gan-train")
