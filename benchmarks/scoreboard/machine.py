"""What a figure was made on: the processor or the GPU, and the commit."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import torch

from benchmarks.processor import processor

CODE = ("training", "contract", "benchmarks")
"""Folders of the code that trains and measures."""


def describe_machine(*, has_cuda: bool) -> str:
    """``2 cores of AMD EPYC 7B13`` or ``NVIDIA H200, 16 cores``; no name of the machine itself."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    if has_cuda:
        return f"{torch.cuda.get_device_name()}, {cores} cores"
    return f"{cores} cores of {processor()}"


def describe_commit(root: Path) -> str:
    """The commit's first twelve digits, with a plus sign where the code differs from it; ``unknown`` outside of git."""
    commit = _git(root, "rev-parse", "--short=12", "HEAD")
    if not commit:
        return "unknown"
    return commit + ("+" if _git(root, "status", "--porcelain", "--", *CODE) else "")


def _git(root: Path, *words: str) -> str:
    try:
        command = ["git", "-C", str(root), *words]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
