"""Bytes after a request's head (bodies, trailers, upgrades, pipelined requests) and clients that stop or read slowly."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path
from random import Random

import pytest

from serving.http.transport import CoalescingTransport
from tests.harness.aftermath import unharmed
from tests.harness.processes import TIMEOUT
from tests.harness.service import Server, running
from tests.serving.http.test_connections import CLOSE, GET, SECOND, problem_code, statuses

pytestmark = pytest.mark.process

CHUNKED = GET + b"Transfer-Encoding: chunked\r\n\r\n"
UPGRADE = b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n"


@pytest.fixture(scope="module")
def server(root: Path, folder: Path) -> Iterator[Server]:
    """A server of one worker, which waits for a test that is held up."""
    with running(root, models=folder / "1-grey.onnx") as server:
        yield server
        assert server.errors() == ""


@pytest.fixture(scope="module")
def impatient(root: Path, folder: Path) -> Iterator[Server]:
    """A server of one worker with a client timeout of one second, a keep-alive of two and a deadline of five."""
    with running(root, models=folder / "1-grey.onnx", client_seconds=1, keep_alive_seconds=2, deadline_seconds=5) as server:
        yield server
        assert server.errors() == ""


@pytest.fixture(autouse=True)
def aftermath(request: pytest.FixtureRequest) -> Iterator[None]:
    """After each test the service is as before it."""
    server: Server = request.getfixturevalue("impatient" if "impatient" in request.fixturenames else "server")
    with unharmed(server, lost=[200, 400, 404, 405, 406, 415, 431, 499], refused=[400, 408, 431, 503]):
        yield


def connect(server: Server) -> socket.socket:
    return socket.create_connection(("127.0.0.1", server.port), timeout=TIMEOUT)


def read_all(connection: socket.socket) -> bytes:
    """What is received until the server closes."""
    return b"".join(iter(lambda: connection.recv(65536), b""))


@pytest.mark.parametrize(
    ("begin", "unit"),
    [(b"0\r\n", b"a: b\r\n"), (b"0\r\na: ", b"x"), (b"0\r\n", b"a"), (b"1;", b"x")],
    ids=["many trailers", "a long value", "a long name", "a chunk extension"],
)
def test_what_is_neither_head_nor_body_is_limited(server: Server, begin: bytes, unit: bytes) -> None:
    """Trailers and chunk extensions count against the limit of the head: 431, and the connection is closed."""
    with closing(connect(server)) as connection:
        connection.sendall(CHUNKED + begin + unit * (65_000 // len(unit)))
        answer = connection.recv(65536)  # else the 431 may come before the 200, and in its place
        connection.sendall(unit * (1000 // len(unit)))
        answer += read_all(connection)
    assert statuses(answer) == [200, 431]
    assert problem_code(answer) == "headers_too_large"


def test_a_body_in_small_chunks_is_not_limited(server: Server) -> None:
    """The framing of 30,000 chunks of one byte, 180 kB, does not count as trailers."""
    with closing(connect(server)) as connection:
        connection.sendall(CHUNKED + 30_000 * b"1\r\nx\r\n" + b"0\r\n\r\n")
        connection.sendall(GET + CLOSE)
        assert statuses(read_all(connection)) == [200, 200]


def test_pipelined_requests_are_not_limited_together(server: Server) -> None:
    """Pipelined requests of 100 kB are all answered: the limit is one of each head."""
    request = GET + b"X: " + 5000 * b"x" + b"\r\n"
    with closing(connect(server)) as connection:
        connection.sendall(20 * (request + b"\r\n") + request)
        threading.Event().wait(0.1)
        connection.sendall(CLOSE)
        assert statuses(read_all(connection)) == 21 * [200]


def test_pipelined_requests_that_wait_are_limited(server: Server) -> None:
    """Of 5,000 pipelined requests the first are answered, then one is 503 and the connection is closed: each takes memory."""
    with closing(connect(server)) as connection:
        with suppress(ConnectionError):  # the server reads no more
            connection.sendall(5000 * (GET + b"\r\n"))
        found = statuses(server.note(read_all(connection)))
    assert found[-1] == 503
    assert set(found[:-1]) == {200}
    assert 32 < len(found) < 2500


def test_a_trailer_is_no_header(server: Server) -> None:
    """A trailer does not become a header of its request."""
    answer = server.send(GET + b"Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n0\r\nX-Request-Id: smuggled\r\n\r\n")
    assert statuses(answer) == [200]
    assert b"smuggled" not in answer


@pytest.mark.parametrize(
    ("request_", "rest"),
    [
        (GET + b"\r\n", b"\r\n"),
        (GET + b"Content-Length: 5000\r\n\r\n", b"a"),
        (CHUNKED, b"fff\r\nab"),
        (CHUNKED, b"0\r\na: b"),
    ],
    ids=["an empty line", "a body", "a chunk", "a trailer"],
)
@pytest.mark.parametrize("drips", [False, True], ids=["stops", "drips"])
def test_an_unfinished_request_is_closed_after_its_response(
    impatient: Server, request_: bytes, rest: bytes, drips: bool
) -> None:
    """A client that sends an empty line or a part of a body after its response is disconnected, even if it sends on slowly."""
    with closing(connect(impatient)) as connection:
        connection.sendall(request_)
        assert statuses(connection.recv(65536)) == [200]
        connection.sendall(rest)
        connection.settimeout(0.3)
        for _ in range(200):
            try:
                assert connection.recv(65536) == b""
                return
            except TimeoutError:
                if drips:
                    with suppress(ConnectionError):  # it was closed a moment ago, as the next read says
                        connection.sendall(b"\r\n" if rest == b"\r\n" else b"x")
            except ConnectionError:
                return
    raise AssertionError("the connection is still open")


def test_half_a_head_after_a_response_is_408(impatient: Server) -> None:
    """A second request whose head stops is 408."""
    with closing(connect(impatient)) as connection:
        connection.sendall(GET + b"\r\n")
        assert statuses(connection.recv(65536)) == [200]
        connection.sendall(b"\r\nGET /generate?seed=1 HTTP/1.1\r\n")
        assert statuses(read_all(connection)) == [408]


@pytest.mark.parametrize("is_chunked", [False, True], ids=["length", "chunked"])
@pytest.mark.parametrize("pieces", [1, 7], ids=["at once", "in pieces"])
def test_an_upgrade_request_keeps_its_body(server: Server, is_chunked: bool, pieces: int) -> None:
    """A POST that offers HTTP/2, as ``curl --http2`` does, is answered as HTTP/1.1, and so is the request behind it."""
    inputs = [{"name": "seed", "datatype": "INT64", "shape": [1], "data": [42]}]
    body = json.dumps({"inputs": inputs}).encode()
    framing = b"Transfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n" % (len(body), body)
    if not is_chunked:
        framing = b"Content-Length: %d\r\n\r\n%s" % (len(body), body)
    head = b"POST /v2/models/grey/infer HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
    data = head + UPGRADE + framing + GET + UPGRADE + b"\r\n" + GET + CLOSE
    with closing(connect(server)) as connection:
        for start in range(0, len(data), len(data) // pieces + 1):
            connection.sendall(data[start : start + len(data) // pieces + 1])
            threading.Event().wait(0.02)
        answer = read_all(connection)
    assert statuses(answer) == [200, 200, 200]
    plain = server.send(head + b"Connection: close\r\n" + framing)
    assert plain.partition(b"\r\n\r\n")[2] in answer


@pytest.mark.parametrize("is_chunked", [False, True], ids=["length", "chunked"])
def test_a_body_without_its_end_is_refused(impatient: Server, is_chunked: bool) -> None:
    """H-08: a body that is whole JSON, but whose last chunk or byte does not come until the deadline, is 408."""
    body = json.dumps({"inputs": [{"name": "seed", "datatype": "INT64", "shape": [1], "data": [42]}]}).encode()
    framing = b"Transfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n" % (len(body), body)
    if not is_chunked:
        framing = b"Content-Length: %d\r\n\r\n%s" % (len(body) + 1, body)
    head = b"POST /v2/models/grey/infer HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
    assert statuses(impatient.send(head + framing)) == [408]


def test_a_malformed_request_behind_a_good_one_does_not_lose_its_response(server: Server) -> None:
    """The good request is answered first, then the malformed one is 400, and nothing after it is processed."""
    answer = server.send(GET + b"\r\n" + b"\x00\x01\x02\r\n\r\n" + SECOND)
    assert statuses(answer) == [200, 400]
    assert b"smuggled" not in answer


def test_damaged_requests_are_refused_or_answered(server: Server) -> None:
    """H-21: of 300 requests with bytes changed, removed or repeated at random each connection is closed, and none is a 5xx."""
    body = json.dumps({"inputs": [{"name": "seed", "datatype": "INT64", "shape": [1], "data": [42]}]}).encode()
    post = b"POST /v2/models/grey/infer HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
    whole = [
        GET + b"Accept: image/webp\r\nCookie: a=b\r\n\r\n" + GET + b"\r\n",
        post + b"Content-Length: %d\r\n\r\n%s" % (len(body), body),
        post + b"Transfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\nA: b\r\n\r\n" % (len(body), body),
        GET + UPGRADE + b"Expect: 100-continue\r\nContent-Length: 3\r\n\r\nabc",
    ]
    random = Random(21)
    for number in range(300):
        data = bytearray(whole[number % len(whole)])
        for _ in range(random.randrange(1, 6)):
            place, length = random.randrange(len(data)), random.randrange(1, 9)
            data[place : place + length] = random.choice(
                [random.randbytes(length), b"", 2 * data[place : place + length], b"\r\n"]
            )
        with closing(connect(server)) as connection, suppress(ConnectionError):
            connection.sendall(data)
            connection.shutdown(socket.SHUT_WR)
            found = statuses(server.note(read_all(connection)))
            assert [status for status in found if status >= 500] == [], bytes(data)


class ClosedTransport(asyncio.Transport):
    """uvloop's transport after its connection was lost."""

    def is_closing(self) -> bool:
        return True

    def close(self) -> None:
        pass

    def write(self, data: bytes | bytearray | memoryview) -> None:
        raise RuntimeError("the handler is closed")


def test_nothing_is_written_to_a_lost_connection() -> None:
    """Of pipelined requests uvicorn stops only the latest when the client leaves; what the others write is dropped."""
    transport = CoalescingTransport(ClosedTransport())
    transport.write(b"HTTP/1.1 200 OK\r\n\r\n")
    transport.write(b"body")
    transport.end_response()
    transport.write(b"HTTP/1.1 200 OK\r\n\r\n")
    transport.close()


def test_a_slow_reader_gets_its_whole_response(impatient: Server) -> None:
    """H-23: a client that reads 3 MB steadily, for longer than ``client_seconds``, gets all of it."""
    with socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16384)
        connection.settimeout(TIMEOUT)
        connection.connect(("127.0.0.1", impatient.port))
        connection.sendall(b"GET /generate?seed=1&n=4096&format=npy HTTP/1.1\r\nHost: x\r\n" + CLOSE)
        answer = bytearray()
        while chunk := connection.recv(16384):
            answer += chunk
            threading.Event().wait(0.01)
    assert len(answer.partition(b"\r\n\r\n")[2]) > 4096 * 784
