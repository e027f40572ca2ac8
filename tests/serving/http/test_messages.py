"""Request bodies and response messages on the wire, with the real server."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.harness.service import Server, running

pytestmark = pytest.mark.process

INFER = b"POST /v2/models/conditional/infer HTTP/1.1\r\nHost: x\r\n"


@pytest.fixture(scope="module")
def server(root: Path, folder: Path) -> Iterator[Server]:
    """A server of one worker with all models."""
    with running(root, models=folder) as server:
        yield server


def status_and_body(answer: bytes) -> tuple[bytes, bytes]:
    head, _, body = answer.partition(b"\r\n\r\n")
    return head.split()[1], body


@pytest.mark.parametrize(
    ("length", "body", "parameters"),
    [
        (
            b"168",
            b'{"id":"r1","inputs":[{"name":"seed","shape":[2],"datatype":"INT64","data":[1,42]}],'
            b'"outputs":[{"name":"image","parameters":{"binary_data":false}}],"parameters":{"y":3}}',
            "&y=3",
        ),
        (
            b"114",
            b'{"inputs":[{"name":"seed","shape":[2],"datatype":"INT64","data":[1,42]}],'
            b'"parameters":{"binary_data_output":true}}',
            "",
        ),
    ],
)
def test_requests_of_tritonclient_are_answered(server: Server, length: bytes, body: bytes, parameters: str) -> None:
    """Requests as written by tritonclient 2.73, without a Content-Type, return the pixels of their seeds."""
    agent = b"User-Agent: python/gevent-http-client-2.6.1\r\nConnection: close\r\nContent-Length: " + length
    status, answer = status_and_body(server.send(INFER + agent + b"\r\n\r\n" + body))
    assert status == b"200"
    pixels = json.loads(answer)["outputs"][0]["data"]
    expected = json.loads(server.get(f"/generate?seed=42&format=json{parameters}")[2])["data"]
    assert pixels[28 * 28 :] == [value for line in expected[0] for pixel in line for value in pixel]


def test_a_chunked_body_is_read_completely(server: Server) -> None:
    """A body without Content-Length is read from chunks that split a token."""
    body = b'{"inputs":[{"name":"seed","shape":[1],"datatype":"UINT32","data":[42]}]}'
    chunks = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in (body[:5], body[5:30], body[30:]))
    status, _ = status_and_body(
        server.send(INFER + b"Connection: close\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks + b"0\r\n\r\n")
    )
    assert status == b"200"


def test_a_body_that_is_too_large_is_refused_by_its_header(server: Server) -> None:
    """A body with a too large Content-Length is 413 before it is sent."""
    status, body = status_and_body(server.send(INFER + b"Connection: close\r\nContent-Length: 99999999\r\n\r\n{"))
    assert (status, json.loads(body)["code"]) == (b"413", "content_too_large")


def test_an_incomplete_body_is_refused_at_the_deadline(root: Path, folder: Path) -> None:
    """A client that sends a part of its body gets 408 at the deadline, with its own request id."""
    with running(root, models=folder / "0-conditional.onnx", deadline_seconds=0.5) as server:
        answer = server.send(INFER + b"X-Request-Id: slow\r\nContent-Length: 20\r\n\r\n{")
    status, body = status_and_body(answer)
    assert (status, json.loads(body)["error"]) == (b"408", "the body must arrive within 0.5 s")
    assert b"x-request-id: slow\r\n" in answer


@pytest.mark.parametrize("path", ["/generate?seed=42", "/models", "/openapi.json", "/docs"])
def test_a_304_has_headers_only(server: Server, path: str) -> None:
    """A 304 has no body, length or type, and the headers that a cache needs (RFC 9110, 15.4.5)."""
    status, headers, body = server.get(path)
    second_status, second_headers, no_body = server.get(path, headers={"If-None-Match": headers["etag"]})
    assert (status, second_status, no_body, len(body)) == (200, 304, b"", int(headers["content-length"]))
    assert {"content-length", "content-type"} & set(second_headers) == set()
    for name in ("etag", "cache-control", "vary"):
        assert second_headers.get(name) == headers.get(name)
