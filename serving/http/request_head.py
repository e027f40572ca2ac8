"""Checks of a request's head (request line and headers) beyond those of the parser, llhttp."""

from __future__ import annotations

import re
from functools import lru_cache

from serving.errors import BadRequest, HeadersTooLarge, PathTooLong, Problem, shown

MAX_HEAD_BYTES = 2**16
"""Maximum size of request line and headers, and of what else a request has outside its body, such as trailers."""
MAX_PATH_BYTES = 4096
"""Maximum size of a path as sent; decoding ``%41`` takes a third of a microsecond a character, on the event loop."""
MAX_HEADERS = 100
NO_PATH = re.compile(rb"[a-z]+://[^/?]*(?=\?|\Z)", re.IGNORECASE)
"""The begin of an absolute target whose path is empty."""
MAX_LENGTH_DIGITS = 20
"""Digits of ``Content-Length``, as many as its greatest value has; with leading zeros Python refuses to read thousands."""
LABEL = rb"[A-Za-z0-9_~!$&'()*+,;=%-]"
HOST = re.compile(rb"(?:(?:%b{1,63}\.)*%b{0,63}|\[[0-9A-Fa-f:.]+\])(?::[0-9]{0,5})?" % (LABEL, LABEL))
"""A host and port: RFC 9110, 7.2, and RFC 3986, 3.2.2; a name's labels as in RFC 1034, 3.1, since Flask refuses others."""


def check_head(version: str, target: bytes, headers: list[tuple[bytes, bytes]]) -> Problem | None:
    """Refuse what llhttp accepts and this service does not.

    Args:
        version: protocol version of the request line.
        target: request target as sent.
        headers: names in lower case, and values.

    Returns:
        The problem to answer; None for an acceptable head.
    """
    if version not in ("1.1", "1.0"):
        return BadRequest(f"the protocol must be HTTP/1.1, got HTTP/{version}")
    if b"#" in target or (target[:1] != b"/" and not target[:8].lower().startswith((b"http://", b"https://"))):
        return BadRequest(f"the target must be a path without a fragment, got {_shown(target)}")
    if len(target) > MAX_PATH_BYTES and (size := len(target.partition(b"?")[0])) > MAX_PATH_BYTES:
        return PathTooLong(f"the path must have at most {MAX_PATH_BYTES} bytes, has {size}")
    if len(headers) > MAX_HEADERS:
        return HeadersTooLarge(f"a request must have at most {MAX_HEADERS} headers, has {len(headers)}")
    names = [name for name, _ in headers]
    hosts = names.count(b"host")
    if hosts > 1 or (hosts == 0 and version == "1.1"):  # RFC 9112, 3.2
        return BadRequest(f"a request must have one Host header, has {hosts}")
    if hosts and not _is_host(headers[names.index(b"host")][1]):
        return BadRequest(f"Host must be a host name or an address, got {_shown(headers[names.index(b'host')][1])}")
    if b"content-length" in names and len(length := headers[names.index(b"content-length")][1]) > MAX_LENGTH_DIGITS:
        return BadRequest(f"Content-Length must have at most {MAX_LENGTH_DIGITS} digits, has {len(length)}")
    if b"transfer-encoding" in names:
        return _check_transfer_encoding(version, [value for name, value in headers if name == b"transfer-encoding"])
    return None


def _check_transfer_encoding(version: str, codings: list[bytes]) -> Problem | None:
    """Refuse codings that a proxy in front may read differently, which would let a client smuggle a request through it."""
    if version == "1.0":
        return BadRequest("HTTP/1.0 has no Transfer-Encoding")
    if len(codings) > 1 or codings[0].lower() != b"chunked":
        return BadRequest(f"Transfer-Encoding must be chunked, got {_shown(b', '.join(codings))}")
    return None


@lru_cache(64)
def _is_host(value: bytes) -> bool:
    return HOST.fullmatch(value) is not None


def _shown(value: bytes) -> str:
    return shown(value.decode("latin-1"))


def is_too_large(target: bytes, headers: list[tuple[bytes, bytes]]) -> bool:
    """Whether request line and headers have more than ``MAX_HEAD_BYTES``."""
    return len(target) + sum(len(name) + len(value) + 4 for name, value in headers) > MAX_HEAD_BYTES


def with_path(target: bytes) -> bytes:
    """A target with a path: that of an absolute one may be empty, and is then ``/`` (RFC 9110, 4.2.3)."""
    place = NO_PATH.match(target)
    return target if place is None else target[: place.end()] + b"/" + target[place.end() :]


def head_without_upgrade(method: bytes, target: bytes, version: str, headers: list[tuple[bytes, bytes]]) -> bytes:
    """The bytes of a head without its header ``Upgrade``."""
    lines = [b"%s: %s\r\n" % header for header in headers if header[0] != b"upgrade"]
    return b"%s %s HTTP/%s\r\n%s\r\n" % (method, target, version.encode(), b"".join(lines))
