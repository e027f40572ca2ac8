"""Threads of torch's operators on the CPU."""

from __future__ import annotations

from collections.abc import Mapping

import torch

from contract.cores import usable_cores

VARIABLE = "OMP_NUM_THREADS"
"""By which a user, and torchrun for several processes, says how many threads there are."""


def limit_threads(environ: Mapping[str, str]) -> None:
    """Let torch have no more threads than a container's quota has cores: it looks at the affinity alone.

    On a node of 64 cores a pod with two of them would have 64 threads, each of which waits for all others in every operator.
    """
    if VARIABLE not in environ and usable_cores() < torch.get_num_threads():
        torch.set_num_threads(usable_cores())
