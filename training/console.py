"""The console script ``gan-train``."""

import sys

from training.interrupts import quiet_interrupts


def run() -> int:
    """Run the command line; where the wheel was installed without the extra that it needs, say so."""
    quiet_interrupts()
    try:
        from training.__main__ import main
    except ModuleNotFoundError as error:
        print(f"gan-train needs {error.name}: pip install 'gan-serve[train]'", file=sys.stderr)
        return 2
    return main(sys.argv[1:], prog="gan-train")
