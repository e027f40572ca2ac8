"""Several ranks without torchrun: processes of one group, which a test may kill."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist

from tests.training.conftest import PROCESSES
from training.game.ranks import Several

Part = Callable[..., Any]
"""What a rank does."""


def play_ranks(part: Part, folder: Path, *arguments: Any, size: int = 2) -> list[Any]:
    """Run ``part(ranks, *arguments)`` in processes; returns what each returned, or the kind and message of its exception."""
    folder.mkdir(parents=True, exist_ok=True)
    members = [PROCESSES.Process(target=_member, args=(part, folder, rank, size, arguments)) for rank in range(size)]
    for member in members:
        member.start()
    for member in members:
        member.join()
    (folder / "meeting").unlink(missing_ok=True)
    return [torch.load(folder / f"rank-{rank}.pt", weights_only=False) for rank in range(size)]


def _member(part: Part, folder: Path, rank: int, size: int, arguments: tuple[Any, ...]) -> None:
    dist.init_process_group(
        "gloo", init_method=f"file://{folder / 'meeting'}", rank=rank, world_size=size, timeout=timedelta(seconds=60)
    )
    try:
        outcome = part(Several(torch.device("cpu")), *arguments)
    except Exception as error:  # the test looks at it
        traceback.print_exc()
        outcome = f"{type(error).__name__}: {error}"
    torch.save(outcome, folder / f"rank-{rank}.pt")
