"""What must hold after a fault: the same bytes, a healthy service, exact counts, no new thread or descriptor, memory back."""

from __future__ import annotations

import collections
import json
import os
import re
import threading
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from tests.harness.processes import TIMEOUT, StartError, wait_for
from tests.harness.service import Server

SETTLE_SECONDS = TIMEOUT
"""Seconds within which the service must be as before: workers may start, connections be kept, and threads end a batch."""
GROWTH_BYTES = 32 * 2**20
"""Memory that a fault may leave to a worker's allocator; ``benchmarks/serving/soak.py`` finds what leaks at each request."""
NEW_THREADS = 8
"""Threads that pools may have started in the meantime: each starts one when a request finds all of its threads busy."""
ROUTES = ("/generate?seed=42", "/healthz", "/nowhere")
"""Asked before the first look, so that each pool has its first thread and each library its caches."""
COUNTED = re.compile(r'gan_http_requests_total\{code="(\d+)",method="\w+",route="([^"]+)"\} (\S+)')
OWN_ROUTES = ("/metrics", "/models/<digest>/generate")
"""Routes that this harness asks; their responses do not count, here and in ``Server.answered``."""


@dataclass(frozen=True)
class State:
    """What a fault must not change."""

    golden: bytes
    """A sample."""
    counts: collections.Counter[int]
    """Responses by status code, without those of this harness."""
    threads: int
    descriptors: list[str]
    memory: int
    """Threads, open files and resident bytes of the worker that has most."""

    def differences(self, later: State) -> list[str]:
        """How a later state differs."""
        found = []
        if later.golden != self.golden:
            found.append("a seed has other bytes")
        if later.threads > self.threads + NEW_THREADS:
            found.append(f"threads grew from {self.threads} to {later.threads}")
        if len(later.descriptors) > len(self.descriptors):
            new = sorted(set(later.descriptors) - set(self.descriptors))
            found.append(f"descriptors grew from {len(self.descriptors)} to {len(later.descriptors)}: {', '.join(new)}")
        if later.memory > self.memory + GROWTH_BYTES:
            found.append(f"memory grew from {self.memory >> 20} to {later.memory >> 20} MiB")
        return found


@contextmanager
def unharmed(
    server: Server, *, lost: Collection[int] = (), refused: Collection[int] = (), has_metrics: bool = True
) -> Iterator[None]:
    """Let a fault happen in the block; then check that the service is as it was.

    Every response that a client of ``Server`` receives in the block is in ``server.answered``; others must be added there.

    Args:
        server: the service; it still runs when the block ends.
        lost: status codes of responses that the service may have counted and no client received.
        refused: status codes of requests that may have been refused by their connection, which counts none.
        has_metrics: whether ``/metrics`` is expected to work after the fault.
    """
    for path in ROUTES:
        server.get(path)
    golden = f"/models/{json.loads(server.get('/models').body)['models'][0]['digest']}/generate?seed=42"
    threading.Event().wait(0.1)
    before = look(server, golden)
    server.answered.clear()
    yield
    received = collections.Counter(server.answered)

    def check() -> None:
        now = look(server, golden, has_metrics=has_metrics)
        wrong = before.differences(now)
        for code in now.counts | received if has_metrics else ():
            more = now.counts[code] - before.counts[code] - received[code]
            if (more > 0 and code not in lost) or (more < 0 and code not in refused):
                wrong.append(f"{received[code]} responses {code} were received, {received[code] + more} counted")
        if wrong:
            raise OSError("; ".join(wrong))

    try:
        wait_for(check, server.process, seconds=SETTLE_SECONDS)
    except StartError as error:
        raise AssertionError(f"the service is not as it was before: {error}") from None
    assert server.get("/healthz").status == 200
    assert "Traceback" not in server.errors()


def look(server: Server, path: str, *, has_metrics: bool = True) -> State:
    """The state of a service now, with the sample at a path.

    Raises:
        OSError: it does not answer.
    """
    workers = server.workers()
    if not workers:
        raise OSError("there is no worker")
    # Before anything is asked: a connection is closed a moment after its response.
    threads = max(len(os.listdir(f"/proc/{pid}/task")) for pid in workers)
    descriptors = max(map(open_files, workers), key=len)
    memory = max(int(Path(f"/proc/{pid}/statm").read_text().split()[1]) for pid in workers) * os.sysconf("SC_PAGE_SIZE")
    sample = server.get(path)
    if sample.status != 200:
        raise OSError(f"a sample is {sample.status}")
    counted = counts(server.get("/metrics").body.decode()) if has_metrics else collections.Counter()
    return State(golden=sample.body, counts=counted, threads=threads, descriptors=descriptors, memory=memory)


def open_files(pid: int) -> list[str]:
    """What a process has open."""
    found = []
    for link in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(FileNotFoundError):  # closed meanwhile
            found.append(str(link.readlink()))
    return found


def counts(text: str) -> collections.Counter[int]:
    """The responses that ``/metrics`` counts, by status code."""
    found: collections.Counter[int] = collections.Counter()
    for code, route, number in COUNTED.findall(text):
        if route not in OWN_ROUTES:
            found[int(code)] += int(float(number))
    return found
