"""Clients that leave before their response, and requests whose rest is malformed, by sockets and the whole application."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from serving.app import create_app
from serving.encoding.png import write_png
from serving.http.asgi import ASGIApp
from serving.model.load import Model
from serving.settings import Settings
from tests.serving import tiny_onnx
from tests.serving.client import measured, on_a_loop, service_of
from tests.serving.http.protocol_server import Clients, clients_of, reset
from tests.serving.http.test_connections import statuses
from tests.serving.observability.log_file import LogFile
from tests.serving.sessions import HeldSession

GET = b"GET /generate?seed=%d HTTP/1.1\r\nHost: x\r\n"
PROBE = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"
SEEDS = json.dumps({"inputs": [{"name": "seed", "datatype": "INT64", "shape": [1], "data": [2]}]}).encode()
PICTURE = write_png(np.zeros((8, 8, 1), np.uint8), {})
INFER = b"POST /v2/models/grey/infer HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
TRANSFORM = b"POST /transform?seed=2 HTTP/1.1\r\nHost: x\r\nContent-Type: image/png\r\n"
WAITING = {
    "/generate": GET % 2 + b"\r\n",
    "/v2/models/<name>/infer": INFER + b"Content-Length: %d\r\n\r\n%s" % (len(SEEDS), SEEDS),
    "/transform": TRANSFORM + b"Content-Length: %d\r\n\r\n%s" % (len(PICTURE), PICTURE),
}
"""A request of each route for samples, by route."""
BAD_CHUNK = b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\nZZ\r\n"


class Held:
    """An application whose models run when they are let, and its log."""

    def __init__(self, folder: Path) -> None:
        for number, data in enumerate((tiny_onnx.grey(), tiny_onnx.transforming("needing"))):
            (folder / f"{number}.onnx").write_bytes(data)
        self.log = LogFile(folder / "log")
        models = tuple(str(folder / f"{number}.onnx") for number in range(2))
        self.app: ASGIApp = create_app(Settings(models=models, provider="cpu"), log_writer=self.log.writer)
        self.service = service_of(self.app)
        self.sessions: list[HeldSession] = []
        for entry in list(self.service.registry.values()):
            assert isinstance(entry.model, Model)
            self.sessions.append(HeldSession(entry.model.session))
            model = replace(entry.model, session=self.sessions[-1], idle_session=None, digest=f"{len(self.sessions)}" * 64)
            self.service.registry.put(self.service.registry.make_entry(model))

    def let(self) -> None:
        """Let the models run."""
        for session in self.sessions:
            session.let.set()

    @asynccontextmanager
    async def clients(self) -> AsyncIterator[Clients]:
        """Clients of a server of the application, on the running loop."""
        self.service.portal.attach(asyncio.get_running_loop())
        async with clients_of(self.app) as clients:
            try:
                yield clients
            finally:
                self.let()

    def requests(self) -> list[tuple[str, str, int]]:
        """Close the log; method, route and status of each request."""
        return [(line["method"], line["route"], line["status"]) for line in self.log.lines() if line["event"] == "request"]

    async def wait_for(self, is_so: Callable[[], bool]) -> None:
        """Return when something is so."""
        while not is_so():
            await asyncio.sleep(0.01)

    def cancelled(self) -> float:
        """The requests whose clients have left."""
        return measured(self.service, "gan_cancelled_total")


@pytest.fixture
def held(tmp_path: Path) -> Held:
    """An application of one model without a picture and one with, held."""
    return Held(tmp_path)


LEAVING: dict[str, Callable[[asyncio.StreamWriter], object]] = {
    "resets": reset,
    "closes": asyncio.StreamWriter.close,
    "half-closes": asyncio.StreamWriter.write_eof,
}


@pytest.mark.parametrize("route", WAITING)
@pytest.mark.parametrize("way", LEAVING)
def test_who_leaves_while_its_sample_waits_gets_nothing(
    held: Held, caplog: pytest.LogCaptureFixture, route: str, way: str
) -> None:
    """O-07, H-19: the sample is not made, the connection is closed without a byte, and the request is one line of 499."""

    @on_a_loop
    async def play() -> None:
        async with held.clients() as ask:
            first = [await ask(WAITING[name]) for name in ("/generate", "/transform")]
            await held.wait_for(lambda: all(session.begun.is_set() for session in held.sessions))
            reader, writer = await ask(WAITING[route].replace(b"seed=2", b"seed=3").replace(b"[2]", b"[3]"))
            await held.wait_for(lambda: measured(held.service, "gan_queue_depth") == 1)
            LEAVING[way](writer)
            await held.wait_for(lambda: held.cancelled() == 1)
            assert measured(held.service, "gan_queue_depth") == 0
            if way == "half-closes":
                assert await reader.read() == b""
            held.let()
            for reader, _ in first:
                assert (await reader.readuntil(b"\r\n")).startswith(b"HTTP/1.1 200 ")

    play()
    method = "GET" if route == "/generate" else "POST"
    assert [request for request in held.requests() if request[2] != 200] == [(method, route, 499)]
    assert "returned without starting response" not in caplog.text


@pytest.mark.parametrize("way", LEAVING)
def test_a_request_behind_the_first_hides_no_departure(held: Held, way: str) -> None:
    """O-07: a client that leaves is missed by the request that waits, not only by the latest one of its connection."""

    @on_a_loop
    async def play() -> None:
        async with held.clients() as ask:
            reader, _ = await ask(GET % 1 + b"\r\n")
            await held.wait_for(held.sessions[0].begun.is_set)
            _, writer = await ask(WAITING["/generate"] + PROBE)
            await held.wait_for(lambda: measured(held.service, "gan_queue_depth") == 1)
            LEAVING[way](writer)
            await held.wait_for(lambda: held.cancelled() == 1)
            held.let()
            assert (await reader.readuntil(b"\r\n")).startswith(b"HTTP/1.1 200 ")

    play()
    assert sorted(status for _, _, status in held.requests()) == [200, 499]


@pytest.mark.parametrize("head", [INFER, TRANSFORM], ids=["infer", "transform"])
@pytest.mark.parametrize("way", LEAVING)
def test_who_leaves_within_its_body_is_499(held: Held, way: str, head: bytes) -> None:
    """H-08: a request whose client leaves before the end of its body is one line of 499, not of a malformed request."""

    @on_a_loop
    async def play() -> None:
        async with held.clients() as ask:
            reader, writer = await ask(head + b"Expect: 100-continue\r\nContent-Length: 10\r\n\r\nabc")
            await reader.readuntil(b"\r\n\r\n")
            LEAVING[way](writer)
            await held.wait_for(lambda: held.cancelled() == 1)

    play()
    assert [status for _, _, status in held.requests()] == [499]


async def answers(ask: Clients, *parts: bytes, first: int = 0) -> bytes:
    """What comes back until the server closes; the parts are sent in reads of their own, a second after ``first`` responses."""
    reader, writer = await ask(b"")
    received = b""
    for part in parts:
        writer.write(part)
        while len(statuses(received)) < first:
            received += await reader.read(65536)
        await asyncio.sleep(0.05)
    return received + await reader.read()


@pytest.mark.parametrize("before", [0, 1], ids=["alone", "behind another"])
@pytest.mark.parametrize("pieces", [1, 2], ids=["at once", "in pieces"])
@pytest.mark.parametrize("route", ["/generate", "/models", "/v2/models/<name>/infer", "/transform"])
def test_a_body_that_breaks_is_one_answer_and_one_line(held: Held, route: str, pieces: int, before: int) -> None:
    """H-01, H-10: a request whose body is malformed is answered once, after those before it, and logged as it is answered;
    only a response that needs no body, and was made before the body broke, is the usual one.
    """
    held.let()
    heads = {"/generate": GET % 3, "/models": PROBE[:-2].replace(b"healthz", b"models"), "/transform": TRANSFORM}
    data = heads.get(route, INFER) + BAD_CHUNK
    end = data.index(b"ZZ") if pieces == 2 else len(data)
    is_made = pieces == 2 and route in ("/generate", "/models")
    first = (before + is_made) * (pieces == 2)
    counted: list[bytes] = []

    @on_a_loop
    async def play() -> None:
        async with held.clients() as ask:
            counted.append(await answers(ask, before * (GET % 1 + b"\r\n") + data[:end], data[end:] + PROBE, first=first))

    play()
    found = statuses(counted[0])
    assert found[:before] == before * [200]
    assert found[before:] == ([200, 400] if is_made else [400])
    assert sorted(status for _, _, status in held.requests()) == sorted(found)


@pytest.mark.parametrize("before", [b"", b"\r\n"], ids=["alone", "after an empty line"])
@pytest.mark.parametrize("body", [b"0\r\na: %s\r\n\r\n", b"1;%s\r\nx\r\n0\r\n\r\n"], ids=["a trailer", "a chunk extension"])
def test_what_comes_with_the_request_counts_too(held: Held, body: bytes, before: bytes) -> None:
    """H-11: trailers and chunk extensions count against the limit of the head also where the whole request is read at once."""
    held.let()
    chunked = before + GET % 1 + b"Connection: close\r\nTransfer-Encoding: chunked\r\n\r\n"
    received: list[list[int]] = []

    @on_a_loop
    async def play() -> None:
        async with held.clients() as ask:
            for length in (60_000, 70_000):
                received.append(statuses(await answers(ask, chunked + body % (length * b"x"))))

    play()
    assert received == [[200], [431]]
