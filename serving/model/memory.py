"""Memory: how much this process can be given, a limit while a model is loaded, and errors of allocators."""

from __future__ import annotations

import re
import resource
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

CGROUPS = (("memory.max", "memory.stat", "anon"), ("memory/memory.limit_in_bytes", "memory/memory.stat", "total_rss"))
"""By version of cgroups, 2 and 1: file of the limit, file of the usage, and its line of what cannot be reclaimed."""
OUT_OF_MEMORY = re.compile(
    r"failed to allocate memory|out of memory|bad.?alloc(?:ation)?\b|CUDA (?:failure|error)[ :]+2\b|ALLOC_FAILED", re.IGNORECASE
)
"""Messages of onnxruntime's arena, the C++ library, CUDA, cuBLAS and cuDNN."""

_limiting = threading.RLock()


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that the machine or the device has no more memory."""
    return isinstance(error, MemoryError) or OUT_OF_MEMORY.search(str(error)) is not None


def available_memory(meminfo: Path = Path("/proc/meminfo"), cgroup: Path = Path("/sys/fs/cgroup")) -> int:
    """Bytes that this process can be given: what is free on the machine, and what its cgroup's limit leaves."""
    free = re.search(r"MemAvailable: +(\d+) kB", meminfo.read_text())
    limits = [1024 * int(free[1])] if free else []
    for limit, usage, name in CGROUPS:
        try:
            limits.append(max(0, int((cgroup / limit).read_text()) - _used(cgroup / usage, name)))
        except (OSError, ValueError):  # no such file, or ``max``
            continue
    return min(limits, default=2**63)


def _used(file: Path, name: str) -> int:
    found = re.search(rf"^{name} (\d+)$", file.read_text(), re.MULTILINE) if file.exists() else None
    return int(found[1]) if found else 0


@contextmanager
def limited_memory(further: int) -> Iterator[None]:
    """Let this process take at most so much further memory in the block: beyond that an allocation fails, and no process ends.

    The system gives more than there is, and kills a process when it touches it.

    Args:
        further: bytes.
    """
    with _limiting:
        soft, hard = resource.getrlimit(resource.RLIMIT_DATA)
        own = re.search(r"VmData:\s+(\d+) kB", Path("/proc/self/status").read_text())
        limits = [limit for limit in (soft, hard) if limit != resource.RLIM_INFINITY]
        limits.append(1024 * int(own[1] if own else 0) + further)
        resource.setrlimit(resource.RLIMIT_DATA, (min(*limits, 2**63 - 1), hard))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_DATA, (soft, hard))
