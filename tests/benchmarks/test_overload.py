"""Load beyond capacity: clients that rest where the service does, figures that are what the requests were, a whole run."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import cast

import numpy as np
import pytest

from benchmarks.serving.clients import LOST, UNANSWERED, Again, Ask, Clients
from benchmarks.serving.loader import Trace
from benchmarks.serving.probes import Probe
from benchmarks.serving.steps import bound_seconds, recovery_seconds, summarise
from serving.settings import Settings
from tests.serving import tiny_onnx

REFUSAL = b"HTTP/1.1 503 Busy\r\nRetry-After: 1\r\ncontent-length: 2\r\n\r\nno"
GOOD = b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nyes"


class Scripted(asyncio.Protocol):
    """A server's side of a connection, with answers that were decided before; without one it closes."""

    def __init__(self, answers: Iterator[bytes], ended: asyncio.Queue[None]) -> None:
        self._answers = answers
        self._ended = ended

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        assert data.endswith(b"\r\n\r\n")
        answer = next(self._answers)
        if not answer:
            return self._transport.close()
        self._transport.write(answer[:20])
        asyncio.get_running_loop().call_soon(self._transport.write, answer[20:])
        return None

    def connection_lost(self, exc: Exception | None) -> None:
        self._ended.put_nowait(None)


async def ask_each(answers: list[bytes], many: int, again: Again = "never", tries: int = 1) -> tuple[list[Ask], int]:
    """Send that many requests in turn to a server with these answers; the outcomes, and its connections."""
    script, ended, asked = iter(answers), asyncio.Queue[None](), []
    server = await asyncio.get_running_loop().create_server(lambda: Scripted(script, ended), "127.0.0.1", 0)
    over: asyncio.Queue[Ask] = asyncio.Queue()
    clients = Clients(server.sockets[0].getsockname()[1], limit=8, finished=over.put_nowait, again=again, tries=tries)
    for number in range(many):
        clients.send(Ask(number, 0.0, "/"))
        asked.append(await over.get())
    connections = clients.opened
    clients.close()
    for _ in range(connections):
        await ended.get()
    server.close()
    await server.wait_closed()
    return asked, connections


def test_a_connection_is_kept_after_an_answer() -> None:
    """And the answer may come in pieces."""
    asked, connections = asyncio.run(ask_each([GOOD, GOOD], 2))
    assert ([ask.status for ask in asked], connections) == ([200, 200], 1)


def test_a_refused_connection_rests() -> None:
    """The next request goes over another one, as the service reads this one later."""
    asked, connections = asyncio.run(ask_each([REFUSAL, GOOD], 2))
    assert ([ask.status for ask in asked], connections) == ([503, 200], 2)


@pytest.mark.parametrize(("again", "expected"), [("kept", 1), ("new", 2)])
def test_who_is_refused_asks_again(again: Again, expected: int) -> None:
    """A retry uses the same connection or a new one, as configured, and one request ends once."""
    (ask,), connections = asyncio.run(ask_each([REFUSAL, GOOD], 1, again, tries=3))
    assert (ask.status, ask.tries, connections) == (200, 2, expected)


def test_nobody_asks_more_often_than_allowed() -> None:
    """The last refusal is the answer."""
    (ask,), _ = asyncio.run(ask_each([REFUSAL, REFUSAL, GOOD], 1, "kept", tries=2))
    assert (ask.status, ask.tries) == (503, 2)


def test_a_connection_that_breaks_is_told() -> None:
    """As lost, not as unanswered."""
    (ask,), _ = asyncio.run(ask_each([b""], 1))
    assert ask.status == LOST


def trace_of(*rows: tuple[int, float, float, int]) -> Trace:
    """Step, due, done and status of each request, in two or three steps of a second."""
    step, due, done, status = (np.array(column) for column in zip(*rows, strict=True))
    return Trace(
        start=100.0,
        step=step,
        due=due,
        done=done,
        status=status,
        tries=np.ones_like(step),
        cpu=np.array([0.5] * 3),
        refusals=0,
        connections=1,
    )


def test_goodput_counts_when_answers_came() -> None:
    """What was due in one step and came in the next is that one's goodput, and its own accepted."""
    trace = trace_of(
        (0, 0.1, 0.2, 200), (0, 0.9, 1.1, 200), (1, 1.2, 1.21, 503), (1, 1.3, 1.4, LOST), (1, 1.5, 1.5, UNANSWERED)
    )
    probes = [Probe("/healthz", 100.5, 200, 0.1), Probe("/metrics", 101.5, 200, 1.5), Probe("/metrics", 103, 0, 9)]
    first, second = summarise(trace, probes, [1, 2], 1.0, 2.0)
    assert (first["goodput"], first["of_capacity"], first["accepted"], first["probes_good"]) == (1.0, 0.5, 2, 1)
    assert (second["goodput"], second["accepted"], second["refused"], second["errors"], second["unanswered"]) == (1, 0, 1, 1, 1)
    assert (second["probes"], second["probes_good"], second["probe_worst_s"]) == (1, 0, 1.5)
    assert second["refused_p99_s"] == pytest.approx(0.01)


def test_recovery_is_when_nobody_is_refused_and_nobody_waits_longer() -> None:
    """The first half second in which both hold; none if there is none."""
    before, refused, slow = (0, 0.1, 0.2, 200), (2, 2.1, 2.1, 503), (2, 2.2, 2.9, 200)
    assert recovery_seconds(trace_of(before, refused, slow, (2, 2.6, 2.65, 200)), 3, 1.0) == 0.5
    assert recovery_seconds(trace_of(before, refused, slow, (2, 2.6, 2.9, 200)), 3, 1.0) is None


def test_a_full_queue_and_a_batch_bound_the_wait() -> None:
    """Of each worker, which has its part of the capacity."""
    assert bound_seconds(Settings(queue_limit=128, max_batch=64), 2, 96.0) == 4.0


@pytest.mark.process
@pytest.mark.slow
def test_the_whole_run(root: Path, tmp_path: Path) -> None:
    """A second of each step: every request is accounted for, something is refused, and the table says what the report says."""
    model, out = tmp_path / "tiny.onnx", tmp_path / "report.json"
    model.write_bytes(tiny_onnx.grey())
    command = [
        sys.executable,
        "-m",
        "benchmarks.serving.overload",
        "--model",
        str(model),
        "--out",
        str(out),
        "--seconds",
        "1",
        "--steps",
        ".1,2",
        "--capacity-seconds",
        "2",
        "--workers",
        "1",
        "--retry",
        "kept",
        "--tries",
        "2",
    ]
    environment = os.environ | {"PYTHONPATH": str(root), "GAN_QUEUE_LIMIT": "1", "GAN_MAX_BATCH": "1"}
    done = subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    report = json.loads(out.read_text())
    assert report["capacity"] > 0
    assert [step["factor"] for step in report["steps"]] == [0.1, 2.0, 0.1]
    for step in report["steps"]:
        assert step["requests"] == sum(step[name] for name in ("accepted", "refused", "late", "errors", "unanswered"))
    assert sum(step["goodput"] for step in report["steps"]) > 0
    assert sum(step["probes"] for step in report["steps"]) > 0
    assert report["steps"][1]["tries"] > report["steps"][1]["requests"]
    assert out.with_suffix(".md").read_text() == done.stdout
