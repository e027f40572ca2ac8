"""The Python client against the real service."""

from __future__ import annotations

import ast
import asyncio
import socket
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from tests.harness.service import Server, running
from tests.serving import tiny_onnx

httpx = pytest.importorskip("httpx", reason="httpx is not installed: the extra client has it")

from gan_serve import AsyncClient, Client, ServiceError  # noqa: E402
from tests.client.answering import answered, npy  # noqa: E402


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory, root: Path) -> Iterator[Server]:
    """A service of a conditional model that lets a client have two samples a second, with a burst of four."""
    model = tmp_path_factory.mktemp("client") / "model.onnx"
    model.write_bytes(tiny_onnx.conditional())
    with running(root, models=model, client_rate=2, cache_bytes=0) as server:
        yield server


@pytest.fixture
def client(service: Server) -> Iterator[Client]:
    with Client(f"http://127.0.0.1:{service.port}") as client:
        yield client


@pytest.fixture
def statuses(client: Client) -> list[int]:
    """The status of each response that the client receives."""
    seen: list[int] = []
    client.http.event_hooks["response"].append(lambda response: seen.append(response.status_code))
    return seen


def test_it_has_few_lines_of_code(root: Path) -> None:
    """At most 64 for both clients together, without docstrings and blank lines."""
    lines = ast.unparse(_without_docstrings(ast.parse((root / "gan_serve/__init__.py").read_text()))).splitlines()
    assert len([line for line in lines if line.strip()]) <= 64


def _without_docstrings(tree: ast.Module) -> ast.Module:
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) and ast.get_docstring(node):
            node.body = node.body[1:] or [ast.Pass()]
    return tree


@pytest.mark.process
def test_an_image_is_an_array_that_repeats(client: Client, statuses: list[int]) -> None:
    """uint8 [h,w,c]; the second request is answered 304 without the picture, and gives an equal array of its own."""
    first, again = client.image(seed=42, y=1), client.image(seed=42, y=1)
    assert (str(first.dtype), first.ndim) == ("uint8", 3)
    assert statuses[-1] == 304
    assert np.array_equal(first, again)
    first[:] = 0
    assert np.array_equal(client.image(seed=42, y=1), again)


@pytest.mark.process
def test_rows_are_the_images_of_their_seeds(client: Client) -> None:
    """`images(7, 2)` is seeds 7 and 8."""
    rows = client.images(7, 2, y=0)
    assert rows.shape[0] == 2
    assert np.array_equal(rows[1], client.image(8, y=0))


@pytest.mark.process
def test_it_waits_as_the_service_says(client: Client, statuses: list[int]) -> None:
    """Beyond the client's rate the service answers 429 with Retry-After; every call returns its picture all the same."""
    pictures = [client.image(seed, y=2) for seed in range(100, 107)]
    while 429 not in statuses:  # where it was held up, its share has grown meanwhile
        pictures.append(client.image(len(pictures), y=2))
    assert len(pictures) >= 7
    assert statuses.count(200) == len(pictures)


@pytest.mark.process
def test_it_gives_up_after_its_retries(service: Server) -> None:
    """Without retries a 429 is an error with the service's own words."""
    client = Client(f"http://127.0.0.1:{service.port}", retries=0)
    with client, pytest.raises(ServiceError, match=r"429.*samples computed a second"):
        list(map(client.image, range(200, 1200)))  # many: where it is held up, its share grows meanwhile


@pytest.mark.process
def test_a_wrong_value_is_named(client: Client) -> None:
    """The message is the service's answer."""
    with pytest.raises(ServiceError, match="y must be"):
        client.image(1, y=77)


@pytest.mark.process
def test_a_parameter_that_is_none_is_left_out(client: Client) -> None:
    """``y=None`` is as no ``y``, and ``format=None`` as no ``format``."""
    assert np.array_equal(client.image(1, y=None, format=None), client.image(1))


@pytest.mark.parametrize("ask", ["image", "images"])
def test_a_format_is_refused_with_what_to_do(ask: str) -> None:
    """The answer is an array, and the message says where files are; nothing is asked, and both clients do so."""
    sentence = r"^leave 'format' out, got 'webp': the answer is an array; for a file, GET /generate\?format=png$"
    more = {"n": 2} if ask == "images" else {}
    with Client("http://127.0.0.1:9") as client, pytest.raises(TypeError, match=sentence):
        getattr(client, ask)(1, format="webp", **more)
    with pytest.raises(TypeError, match=sentence):
        asyncio.run(getattr(AsyncClient("http://127.0.0.1:9"), ask)(1, format="webp", **more))


def test_with_gives_the_client_and_closes_its_connections() -> None:
    """``close`` does so, too, and may be called again."""
    with Client("http://127.0.0.1:9") as client:
        assert isinstance(client, Client)
        assert not client.http.is_closed
    assert client.http.is_closed
    client.close()
    other = Client("http://127.0.0.1:9")
    other.close()
    assert other.http.is_closed


def test_async_with_does_the_same() -> None:
    """Its twin has ``aclose``, as httpx names it."""

    async def use() -> None:
        async with AsyncClient("http://127.0.0.1:9") as client:
            assert isinstance(client, AsyncClient)
            assert not client.http.is_closed
        assert client.http.is_closed
        await client.aclose()

    asyncio.run(use())


@pytest.mark.parametrize(
    ("value", "sent"),
    [
        *[
            (1e-5, "0.00001"),
            (np.float32(-0.5), "-0.5"),
            (5.551115123125783e-17, "0.00000000000000005551"),
            (3, "3"),
            (2.0, "2"),
        ],
        *[(0.1, "0.1"), (np.float32(0.1), "0.1"), (np.float64(0.1), "0.1"), (np.float16(0.1), "0.099975586")],
    ],
)
def test_numbers_are_sent_as_the_service_reads_them(value: float, sent: str) -> None:
    """Without an exponent, with at most twenty decimals, and so that a float32 of the text is the value's own."""
    asked: list[str] = []
    client = answered(lambda request: npy(np.zeros((1, 2), np.float32)))
    client.http.event_hooks["request"].append(lambda request: asked.append(request.url.params["c0"]))
    client.image(1, c0=value)
    assert asked == [sent]
    assert np.float32(sent) == np.float32(value) or abs(value) < 1e-4


@pytest.mark.process
def test_it_keeps_the_latest_answers_only(service: Server, client: Client) -> None:
    """With one answer kept, the one before it is transferred again."""
    small = Client(f"http://127.0.0.1:{service.port}", kept=1)
    seen: list[int] = []
    small.http.event_hooks["response"].append(lambda response: seen.append(response.status_code))
    with small:
        for seed in (1, 1, 2, 1):
            small.image(seed)
    assert [status for status in seen if status != 429] == [200, 304, 200, 200]


@pytest.mark.parametrize("kept", [0, 1, 2])
def test_threads_may_share_it(kept: int) -> None:
    """Eight threads that switch after each microsecond, with more seeds than answers are kept: every call has its array."""
    client = answered(lambda request: npy(np.zeros((1, 2, 2, 1), np.uint8)), kept=kept)
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        with ThreadPoolExecutor(8) as threads:
            assert {array.shape for array in threads.map(client.image, [number % 5 for number in range(2000)])} == {(2, 2, 1)}
    finally:
        sys.setswitchinterval(interval)
    assert client._kept.cache_info().currsize == kept


@pytest.mark.process
def test_its_twin_gives_the_same(service: Server, client: Client) -> None:
    """AsyncClient's arrays are Client's, several at once, with the same retries and errors."""

    async def ask() -> list[np.ndarray]:
        async with AsyncClient(f"http://127.0.0.1:{service.port}") as twin:
            with pytest.raises(ServiceError, match="y must be"):
                await twin.image(1, y=77)
            return list(await asyncio.gather(*(twin.image(seed, y=1) for seed in (300, 301, 302))))

    for seed, picture in zip((300, 301, 302), asyncio.run(ask()), strict=True):
        assert np.array_equal(picture, client.image(seed, y=1))


def answer_all(listener: socket.socket, response: bytes) -> None:
    """Give each client of a socket the same response, until the socket is closed."""
    with suppress(OSError):
        while True:
            connection, _ = listener.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(response)


@pytest.mark.parametrize(
    ("status", "header", "body", "sentence"),
    [
        ("503", "Retry-After: Wed, 21 Oct 2015 07:28:00 GMT", b"busy", "503: .*b'busy'"),
        ("503", "Retry-After: nan", b'{"detail": "full"}', "503: full"),
        ("503", "Retry-After: -1", b"[]", r"503: .*b'\[\]'"),
        ("502", "Content-Type: application/problem+json", b"{", "502: .*b'{'"),
        ("301", "Location: /login", b"moved", "301: .*b'moved'"),
        ("200", "Content-Type: text/html", b"<html>", "200: .*b'<html>'"),
        ("304", "ETag: x", b"", "304: .*b''"),
    ],
)
def test_answers_of_another_server_are_service_errors(
    status: str, header: str, body: bytes, sentence: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a proxy or a login page answers: one kind of error, and a wait that is no number is one second."""
    waits: list[float] = []
    monkeypatch.setattr("gan_serve.time", SimpleNamespace(sleep=waits.append))  # of no other thread
    with socket.create_server(("127.0.0.1", 0)) as listener:
        head = f"HTTP/1.1 {status} x\r\n{header}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
        threading.Thread(target=answer_all, args=(listener, head.encode() + body), daemon=True).start()
        client = Client(f"http://127.0.0.1:{listener.getsockname()[1]}", retries=1)
        with client, pytest.raises(ServiceError, match=sentence):
            client.image(1)
    assert waits == [1.0] * header.startswith("Retry-After")
