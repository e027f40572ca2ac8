"""What a launcher such as torchrun says about the processes that it started, and which of it a run can follow."""

from __future__ import annotations

from collections.abc import Mapping

from training.errors import TrainingError


def refuse_company(environ: Mapping[str, str]) -> None:
    """Refuse to be one of several processes: each would play the whole game by itself, in one run directory.

    Args:
        environ: torchrun sets ``WORLD_SIZE`` in it, to the number of processes on all nodes together.

    Raises:
        TrainingError: there are more processes than this one.
    """
    size = environ.get("WORLD_SIZE", "1")
    if size != "1":
        raise TrainingError(
            f"WORLD_SIZE must be 1, got {size!r}: a run is played by one process; use torchrun --nnodes=1 --nproc-per-node=1"
        )
