"""Limits of HTTP requests in form, size and time: raw bytes against the real server (RELIABILITY's group H)."""

from __future__ import annotations

import json
import re
import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest

from tests.harness.aftermath import unharmed
from tests.harness.processes import TIMEOUT
from tests.harness.service import Server, running

pytestmark = pytest.mark.process

GET = b"GET /generate?seed=42 HTTP/1.1\r\nHost: x\r\n"
CLOSE = b"Connection: close\r\n\r\n"
SECOND = b"GET /generate?seed=7 HTTP/1.1\r\nHost: x\r\nX-Canary: smuggled\r\n\r\n"


@pytest.fixture(scope="module")
def server(root: Path, folder: Path) -> Iterator[Server]:
    """A server of one worker, which waits for a test that is held up."""
    with running(root, models=folder / "1-grey.onnx") as server:
        yield server
        assert server.errors() == ""


@pytest.fixture(scope="module")
def impatient(root: Path, folder: Path) -> Iterator[Server]:
    """A server of one worker with a client timeout of one second and a keep-alive of two."""
    with running(root, models=folder / "1-grey.onnx", client_seconds=1, keep_alive_seconds=2) as server:
        yield server
        assert server.errors() == ""


@pytest.fixture(autouse=True)
def aftermath(request: pytest.FixtureRequest) -> Iterator[None]:
    """After each test the service is as before it; the responses that its sockets receive are not all counted by the test."""
    server: Server = request.getfixturevalue("impatient" if "impatient" in request.fixturenames else "server")
    with unharmed(server, lost=[200], refused=[400, 408, 414, 431]):
        yield


def statuses(answer: bytes) -> list[int]:
    """Status codes of all responses in the received bytes."""
    return [int(code) for code in re.findall(rb"HTTP/1\.1 (\d{3}) ", answer)]


def problem_code(answer: bytes) -> str:
    """The problem code of the last response."""
    code: str = json.loads(answer.rpartition(b"\r\n\r\n")[2])["code"]
    return code


@pytest.mark.parametrize(
    "head",
    [
        pytest.param(b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", id="H-01 both lengths"),
        pytest.param(b"Content-Length: 5\r\nContent-Length: 6\r\n", id="H-02 two lengths"),
        pytest.param(b"Content-Length: 5, 5\r\n", id="H-02 a list of lengths"),
        pytest.param(b"Content-Length: +5\r\n", id="H-02 a sign"),
        pytest.param(b"Content-Length: -1\r\n", id="H-02 negative"),
        pytest.param(b"Content-Length: 0_1\r\n", id="H-02 an underscore"),
        pytest.param(b"Content-Length: 99999999999999999999\r\n", id="H-03 huge"),
        pytest.param(b"Content-Length: " + 5000 * b"0" + b"5\r\n", id="H-03 leading zeros"),
        pytest.param(b"Transfer-Encoding: xchunked\r\n", id="H-04 unknown coding"),
        pytest.param(b"Transfer-Encoding: chunked, identity\r\n", id="H-04 chunked is not last"),
        pytest.param(b"Transfer-Encoding : chunked\r\n", id="H-04 a space before the colon"),
        pytest.param(b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", id="H-04 twice"),
        pytest.param(b"Transfer-Encoding: identity\r\nTransfer-Encoding: chunked\r\n", id="H-04 identity, then chunked"),
        pytest.param(b"Transfer-Encoding: gzip, chunked\r\n", id="H-04 two codings"),
        pytest.param(b"X: a\nY: b\r\n", id="H-05 a line that ends in LF alone"),
        pytest.param(b"X: a\r\n b\r\n", id="H-05 a folded line"),
        pytest.param(b"X: a\x00b\r\n", id="H-05 NUL"),
        pytest.param(b"X: a\x07b\r\n", id="H-05 BEL"),
        pytest.param(b"X: a\x7fb\r\n", id="H-05 DEL"),
        pytest.param(b"X\x80: b\r\n", id="H-05 a name that is no token"),
        pytest.param(b"Host: y\r\n", id="H-06 two hosts"),
        pytest.param(b"no colon at all\r\n", id="no header"),
    ],
)
def test_a_malformed_head_is_one_400_and_a_closed_connection(server: Server, head: bytes) -> None:
    """H-01 to H-06, H-10: nothing after the malformed head on the same connection is processed."""
    answer = server.send(GET + head + b"\r\n" + SECOND)
    assert statuses(answer) == [400]
    assert problem_code(answer) == "bad_request"
    assert b"smuggled" not in answer


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"GET /healthz HTTP/1.1\r\n\r\n", id="H-06 no host"),
        pytest.param(b"GET /healthz HTTP/1.1\r\nHost: a b\r\n\r\n", id="H-06 a host with a space"),
        pytest.param(b"GET /healthz HTTP/1.1\r\nHost: a/b\r\n\r\n", id="H-06 a host with a path"),
        pytest.param(b"GET /healthz HTTP/1.1\r\nHost: a:x\r\n\r\n", id="H-06 a port that is no number"),
        pytest.param(GET.replace(b": x", b": a..b") + b"\r\n", id="H-06 a host with an empty label"),
        pytest.param(GET.replace(b": x", b": " + 64 * b"a" + b".b") + b"\r\n", id="H-06 a host with a label of 64 letters"),
        pytest.param(b"GET /healthz#x HTTP/1.1\r\nHost: x\r\n\r\n", id="H-13 fragment"),
        pytest.param(b"GET ftp://x/healthz HTTP/1.1\r\nHost: x\r\n\r\n", id="H-13 another scheme"),
        pytest.param(b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", id="H-04 chunked in HTTP/1.0"),
        pytest.param(b"GET * HTTP/1.1\r\nHost: x\r\n\r\n", id="H-13 asterisk"),
        pytest.param(b"GET foo HTTP/1.1\r\nHost: x\r\n\r\n", id="H-13 no slash"),
        pytest.param(b"GET example.com:443 HTTP/1.1\r\nHost: x\r\n\r\n", id="H-13 authority"),
        pytest.param(b"CONNECT x:80 HTTP/1.1\r\nHost: x\r\n\r\n", id="H-13 CONNECT"),
        pytest.param(b"CONNECT http://x/ HTTP/1.1\r\nHost: x\r\n\r\n", id="H-13 CONNECT to a URL"),
        pytest.param(b"GET /healthz HTTP/2.0\r\nHost: x\r\n\r\n", id="H-14 HTTP/2.0"),
        pytest.param(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", id="H-14 preface of HTTP/2"),
        pytest.param(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + 64 * b"\x41", id="H-14 hello of TLS"),
        pytest.param(bytes(range(256)), id="H-14 any bytes"),
    ],
)
def test_a_request_that_is_not_http_1_is_closed(server: Server, data: bytes) -> None:
    """H-13, H-14: one 400, and the connection is closed."""
    assert statuses(server.send(data)) == [400]


@pytest.mark.parametrize("path", ["/generate?seed=1", "/models"])
@pytest.mark.parametrize("host", [b"", b"a.b.", b"a_b:", 63 * b"a" + b".b:80", b"[::1]:80", b"10.0.0.1:8000", b"$(a)"])
def test_any_host_gets_the_same_answer(server: Server, host: bytes, path: str) -> None:
    """H-06: each well-formed host is accepted, on the event loop and by Flask."""
    assert statuses(server.send(b"GET %s HTTP/1.1\r\nHost: %s\r\n" % (path.encode(), host) + CLOSE)) == [200]


def test_http_1_0_needs_no_host(server: Server) -> None:
    """HTTP/1.0 has no Host header."""
    assert statuses(server.send(b"GET /healthz HTTP/1.0\r\n\r\n")) == [200]


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (b"GET /generate?seed=1&x=" + 300_000 * b"x" + b" HTTP/1.1\r\nHost: x\r\n\r\n", 431),
        (b"GET /" + 65_536 * b"x" + b" HTTP/1.1\r\nHost: x\r\n\r\n", 431),
        (b"GET /" + 1365 * b"%41" + b" HTTP/1.1\r\nHost: x\r\n" + CLOSE, 404),
        (b"GET /" + 1366 * b"%41" + b" HTTP/1.1\r\nHost: x\r\n" + CLOSE, 414),
        (GET + b"X: " + 300_000 * b"x" + b"\r\n" + CLOSE, 431),
        (GET + b"".join(b"X-%d: y\r\n" % i for i in range(120)) + CLOSE, 431),
        (GET + b"X: " + 8190 * b"x" + b"\r\n" + CLOSE, 200),
        (GET + b"".join(b"X-%d: y\r\n" % i for i in range(90)) + CLOSE, 200),
        (b"GET /generate?seed=1&x=" + 4072 * b"x" + b" HTTP/1.1\r\nHost: x\r\n" + CLOSE, 400),
    ],
    ids=[
        "long line",
        "path of 64 KiB",
        "longest path",
        "too long a path",
        "long header",
        "many headers",
        "longish header",
        "some headers",
        "longish line",
    ],
)
def test_heads_are_limited_in_size(server: Server, request_: bytes, status: int) -> None:
    """H-11, H-12: a head of more than 64 KiB or 100 headers is 431, a path of more than 4,096 bytes 414."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=TIMEOUT) as connection:
        with suppress(ConnectionError):  # refused before the whole head was sent
            connection.sendall(request_)
        try:
            answer = server.note(connection.recv(65536))
        except ConnectionError:
            return  # unread bytes made the server's close a reset, which dropped the response
    assert statuses(answer) == [status]


def test_pipelined_requests_are_answered_in_order(server: Server) -> None:
    """H-09: three pipelined GETs are answered in order, each with its own bytes."""
    expected = [server.get(f"/generate?seed={seed}")[2] for seed in (1, 2, 3)]
    request = b"GET /generate?seed=%d HTTP/1.1\r\nHost: x\r\n%s\r\n"
    answer = server.send(request % (1, b"") + request % (2, b"") + request % (3, b"Connection: close\r\n"))
    offsets = [answer.index(body) for body in expected]
    assert statuses(answer) == [200, 200, 200]
    assert offsets == sorted(offsets)


@pytest.mark.parametrize("path", ["/generate?seed=42", "/walk?from=1&to=2&frames=64&scale=4", "/models", "/docs", "/nowhere"])
@pytest.mark.parametrize("behind", [b"", b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"], ids=["alone", "with another behind it"])
def test_a_client_that_half_closes_gets_its_response(server: Server, path: str, behind: bytes) -> None:
    """H-19: the complete responses of pipelined requests are sent after the client's FIN, and the connection is closed."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=TIMEOUT) as connection:
        connection.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode() + behind)
        connection.shutdown(socket.SHUT_WR)
        answer = server.note(b"".join(iter(lambda: connection.recv(65536), b"")))
    assert server.get(path)[2] in answer
    assert statuses(answer)[1:] == [200] * (len(behind) > 0)


def test_expect_on_get_blocks_nothing(server: Server) -> None:
    """H-22: the response to a GET with ``Expect: 100-continue`` does not wait for the body."""
    answer = server.send(GET + b"Expect: 100-continue\r\nContent-Length: 3\r\n" + CLOSE + b"abc")
    assert statuses(answer)[-1] == 200


def test_an_absolute_target_is_its_path(server: Server) -> None:
    """H-13: the path of an absolute target is used, ``/`` where it is empty; its host is ignored (RFC 9112, 3.2.2)."""
    assert statuses(server.send(b"GET http://evil.example/healthz HTTP/1.1\r\nHost: x\r\n" + CLOSE)) == [200]
    for target in (b"http://evil.example", b"HTTP://evil.example:80?x=1"):
        answer = server.send(b"GET " + target + b" HTTP/1.1\r\nHost: x\r\n" + CLOSE)
        assert statuses(answer) == [200]
        assert b"<!doctype html>" in answer


@pytest.mark.parametrize("name", [b"Upgrade: h2c\r\nConnection: Upgrade, HTTP2-Settings\r\n", b"Upgrade: websocket\r\n"])
def test_an_upgrade_request_is_ignored(server: Server, name: bytes) -> None:
    """``Upgrade`` has no effect on the response."""
    assert statuses(server.send(GET + name + CLOSE)) == [200]


@pytest.mark.parametrize("drip", [False, True], ids=["H-15 stops", "H-16 drips"])
def test_an_incomplete_head_blocks_no_other_client(impatient: Server, drip: bool) -> None:
    """H-15, H-16: 64 clients that never finish their head get 408; others are answered meanwhile."""
    with ExitStack() as stack:
        slow = [
            stack.enter_context(socket.create_connection(("127.0.0.1", impatient.port), timeout=TIMEOUT)) for _ in range(64)
        ]
        for connection in slow:
            connection.sendall(b"GET /generate?seed=1 HTTP/1.1\r\nHo")
        assert impatient.get("/generate?seed=42")[0] == impatient.get("/healthz")[0] == 200
        for _ in range(5 if drip else 0):
            threading.Event().wait(0.1)
            for connection in slow:
                connection.sendall(b"s")
        assert {tuple(statuses(connection.recv(65536))) for connection in slow} == {(408,)}


def test_a_silent_connection_is_closed(impatient: Server) -> None:
    """H-17: a silent connection is closed before the first byte and between two requests."""
    with ExitStack() as stack:
        silent = stack.enter_context(socket.create_connection(("127.0.0.1", impatient.port), timeout=TIMEOUT))
        idle = stack.enter_context(socket.create_connection(("127.0.0.1", impatient.port), timeout=TIMEOUT))
        idle.sendall(GET + b"\r\n")
        assert statuses(idle.recv(65536)) == [200]
        assert idle.recv(65536) == b""
        assert statuses(silent.recv(65536)) == [408]


def test_a_client_that_does_not_read_is_disconnected(impatient: Server) -> None:
    """H-18: 16 clients that do not read their response of 3 MB are disconnected; others are answered meanwhile."""
    with ExitStack() as stack:
        slow = []
        for _ in range(16):
            connection = stack.enter_context(socket.socket())
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            connection.settimeout(TIMEOUT)
            connection.connect(("127.0.0.1", impatient.port))
            connection.sendall(b"GET /generate?seed=1&n=4096&format=npy HTTP/1.1\r\nHost: x\r\n\r\n")
            slow.append(connection)
        assert impatient.get("/generate?seed=42")[0] == 200
        threading.Event().wait(2.5)
        for connection in slow:
            got = 0
            with suppress(ConnectionResetError):
                while chunk := connection.recv(1 << 20):
                    got += len(chunk)
            assert got < 4096 * 784
        assert impatient.get("/generate?seed=42")[0] == 200


def test_draining_closes_kept_connections(root: Path, folder: Path) -> None:
    """F-02: after SIGTERM each response has ``Connection: close``."""
    with running(root, models=folder / "1-grey.onnx", drain_seconds=600) as server:
        with socket.create_connection(("127.0.0.1", server.port), timeout=TIMEOUT) as connection:
            connection.sendall(GET + b"\r\n")
            assert b"connection: close" not in connection.recv(65536).lower()
            server.drain()
            connection.sendall(GET + b"\r\n")
            answer = b"".join(iter(lambda: connection.recv(65536), b""))
        assert statuses(answer) == [200]
        assert b"connection: close" in answer.lower()
        assert server.stop() == 0
