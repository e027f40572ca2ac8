"""What the Python client does with answers that a service does not give: arrays of its own, or a ``ServiceError``."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace

import pytest

pytest.importorskip("httpx", reason="httpx is not installed: the extra client has it")

import httpx

from gan_serve import AsyncClient, ServiceError
from tests.client.answering import answered


def file_of(header: str, data: bytes = b"") -> bytes:
    """A file of NumPy's format with any header."""
    return b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header.encode() + data


def one_row(*, descr: str = "|u1", shape: str = "(1, 2)", more: str = "}", data: bytes = bytes(2)) -> bytes:
    """A file of one row, as the service writes it, or with other entries."""
    return file_of(f"{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, {more}     \n", data)


WRONG_BODIES = {
    "a zip file": b"PK\x03\x04junk",
    "no header": file_of("{'descr': '|u1', 'shape': (1,"),
    "a deep header": file_of("(" * 4000),
    "no row": one_row(shape="(0, 2)", data=b""),
    "more rows": one_row(shape="(5, 2)", data=bytes(10)),
    "no number of rows": one_row(shape="()", data=bytes(1)),
    "no columns": one_row(shape="(1,)", data=bytes(1)),
    "too little data": one_row(data=bytes(1)),
    "too much data": one_row(data=bytes(3)),
    "more memory than there is": one_row(shape="(1, 999999999, 999999999)"),
    "a size beyond 64 bits": one_row(shape="(1, 99999999999999999999999)"),
    "a product beyond 64 bits": one_row(shape=f"(1, {', '.join(9 * ['999999999'])})"),
    "more dimensions than NumPy has": one_row(shape=f"(1, {', '.join(99 * ['1'])})"),
    "texts": one_row(descr="<U1", data=bytes(8)),
    "objects": one_row(descr="|O", data=bytes(16)),
    "no type": one_row(descr="<f1"),
}


def test_a_row_as_the_service_writes_it_is_accepted() -> None:
    """What the bodies below have wrong is what they are refused for; the array may be changed."""
    row = answered(lambda request: httpx.Response(200, content=one_row(data=b"\x07\x08"))).image(1)
    row[0] += 1
    assert row.tolist() == [8, 8]


@pytest.mark.parametrize("body", WRONG_BODIES.values(), ids=WRONG_BODIES)
def test_a_body_without_the_rows_is_a_service_error(body: bytes) -> None:
    """A server sends another body in place of the array; nothing of it is kept, so that it is not confirmed later."""
    asked: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request)
        return httpx.Response(200, headers={"ETag": '"x"'}, content=body)

    client = answered(answer)
    for _ in range(2):
        with pytest.raises(ServiceError, match="200: the service does not answer so: b"):
            client.image(1)
    assert ["If-None-Match" in request.headers for request in asked] == [False, False]


def test_an_error_of_deep_json_is_a_service_error() -> None:
    """The parser's recursion has a limit."""
    client = answered(lambda request: httpx.Response(502, content=100_000 * b"["))
    with pytest.raises(ServiceError, match=r"502: the service does not answer so: b'\[\["):
        client.image(1)


def test_an_answer_that_cannot_be_decoded_is_a_service_error() -> None:
    """A proxy names an encoding that the body does not have; so for both clients."""

    def answer(request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, headers={"Content-Encoding": "gzip"}, stream=httpx.ByteStream(b"no gzip"))

    async def ask() -> None:
        twin = AsyncClient("http://127.0.0.1")
        twin.http = httpx.AsyncClient(base_url="http://127.0.0.1", transport=httpx.MockTransport(answer))
        await twin.image(1)

    with pytest.raises(ServiceError, match="cannot be decoded: .*incorrect header"):
        answered(answer).image(1)
    with pytest.raises(ServiceError, match="cannot be decoded: .*incorrect header"):
        asyncio.run(ask())


def test_an_answer_is_not_asked_for_again() -> None:
    """Only an error with Retry-After is."""
    requests: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        requests.append(request)
        return httpx.Response(200, headers={"Retry-After": "0"}, content=one_row())

    answered(answer).image(1)
    assert len(requests) == 1


@pytest.mark.parametrize(("asked", "waited"), [("86400", 7), (400 * "9", 7), ("3", 3)])
def test_it_waits_no_longer_than_its_timeout(asked: str, waited: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """A proxy may ask for a day, or for more than a float holds."""
    waits: list[float] = []
    monkeypatch.setattr("gan_serve.time", SimpleNamespace(sleep=waits.append))  # of no other thread
    client = answered(lambda request: httpx.Response(503, headers={"Retry-After": asked}), timeout_s=7, retries=2)
    with pytest.raises(ServiceError, match="503"):
        client.image(1)
    assert waits == [waited, waited]
