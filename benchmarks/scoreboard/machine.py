"""What a figure was made on: the processor or the GPU."""

from __future__ import annotations

import os

import torch

from benchmarks.processor import processor


def describe_machine(*, has_cuda: bool) -> str:
    """``2 cores of AMD EPYC 7B13`` or ``NVIDIA H200, 16 cores``; no name of the machine itself."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    if has_cuda:
        return f"{torch.cuda.get_device_name()}, {cores} cores"
    return f"{cores} cores of {processor()}"
