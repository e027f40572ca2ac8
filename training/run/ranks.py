"""The ranks of a run: started by torchrun, given one configuration, one data set and one state."""

from __future__ import annotations

import dataclasses
import json
import time
import uuid
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta

import torch
import torch.distributed as dist
from torch._C._distributed_c10d import PrefixStore, Store
from torch.distributed.rendezvous import rendezvous

from training.data import DataSet
from training.errors import LostRank, TrainingError
from training.game.loop import Game
from training.game.ranks import ALONE, Ranks, Several
from training.run import checkpoint
from training.run.config import RunConfig, read_ranks
from training.run.context import JobContext

TIMEOUT = timedelta(minutes=10)
"""A rank that has not answered for this long is lost; rank 0 may have a classifier to train while the others wait."""


@contextmanager
def joined(environ: Mapping[str, str], device: torch.device) -> Iterator[Ranks]:
    """The ranks of this run: this process alone, or all that torchrun started, on all nodes.

    Args:
        environ: environment, in which torchrun sets ``WORLD_SIZE`` to their number and ``RANK`` to this one's.
        device: this rank's device; its tensors go by NCCL on CUDA, all others by gloo.

    Raises:
        TrainingError: the process was not started by torchrun.
        LostRank: another rank did not come.
    """
    if rank_count(environ) == 1:
        yield ALONE
        return
    backend = "cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo"
    try:
        store, rank, size = next(rendezvous("env://", timeout=TIMEOUT))
        store = fresh_part(store, rank, size)
        dist.init_process_group(backend, store=store, rank=rank, world_size=size, timeout=TIMEOUT)
    except ValueError as error:
        raise TrainingError(
            f"WORLD_SIZE is {environ['WORLD_SIZE']}, but torchrun did not start this process: {error}"
        ) from None
    except RuntimeError as error:
        raise LostRank(error) from None
    try:
        yield Several(device)
    finally:
        dist.destroy_process_group()


def fresh_part(store: Store, rank: int, size: int) -> Store:
    """A part of torchrun's store to which no earlier process has written, the same part for all ranks.

    The store outlives the workers: without this a worker that was started again may read the address of one that died. How
    often workers were started is not known to all nodes alike, so each rank announces a name of its own, which rank 0 answers.

    Raises:
        RuntimeError: another rank did not come within the time limit.
    """
    own = uuid.uuid4().hex
    if rank:
        store.set(f"announced/{rank}", own)
        part = store.get(f"answer/{own}").decode()
        store.set(f"received/{part}/{rank}", "")
        return PrefixStore(part, store)
    deadline_s = time.monotonic() + TIMEOUT.total_seconds()
    missing = list(range(1, size))
    while missing:
        for other in missing:
            store.set(f"answer/{store.get(f'announced/{other}').decode()}", own)
        time.sleep(0.02)
        missing = [other for other in missing if not store.check([f"received/{own}/{other}"])]
        if time.monotonic() > deadline_s:
            raise RuntimeError(f"rank {missing[0]} did not come")
    return PrefixStore(own, store)


def rank_count(environ: Mapping[str, str]) -> int:
    """The number of processes of the run; 1 without torchrun.

    Raises:
        TrainingError: ``WORLD_SIZE`` is no such number.
    """
    size = environ.get("WORLD_SIZE", "1")
    if not (size.isascii() and size.isdigit() and int(size)):
        raise TrainingError(f"WORLD_SIZE must be the number of processes, at least 1, got {size!r}: torchrun sets it")
    return int(size)


def count_ranks(game: Game, context: JobContext) -> dict[str, int]:
    """The number of ranks from each step on at which it changed; says so when it changes now."""
    counts = read_ranks(context.run, before=game.step)
    before = list(counts.values())[-1:]
    if before and before != [game.ranks.size]:
        context.console.print(f"the steps before were trained by {before[0]} ranks, those that follow by {game.ranks.size}")
    return counts if before == [game.ranks.size] else {**counts, str(game.step): game.ranks.size}


def share_config(config: RunConfig | None, ranks: Ranks) -> RunConfig:
    """The configuration of rank 0, on every rank; the others need to give none."""
    sent = ranks.broadcast(lambda: json.dumps(dataclasses.asdict(config)).encode() if config else b"")
    if sent is not None:
        return RunConfig(**json.loads(sent))
    assert config is not None  # this is rank 0
    return config


def share_state(game: Game, data: DataSet) -> None:
    """Give every rank the state of rank 0: weights, buffers, averages, optimisers, counters.

    Raises:
        TrainingError: the ranks were given different data.
    """
    game.ranks.require_same("the training data", lambda: _describe(data))
    sent = game.ranks.broadcast(lambda: checkpoint.pack(game.state()))
    if sent is not None:
        game.restore(checkpoint.unpack(sent, game.device))


def _describe(data: DataSet) -> str:
    """Name, number, shape and a checksum of the samples."""
    checksum = 0
    for part in data.contents():
        checksum = zlib.crc32(part, checksum)
    return f"{data.name}, {len(data)} x {list(data.shape)}, CRC {checksum:08x}"
