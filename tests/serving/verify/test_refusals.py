"""``python -m serving verify`` refuses a damaged, hostile or foreign file in one line, without a traceback."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable

import pytest

from serving.encoding.png_reader import read_png
from serving.generation.generate import RequestHeaders, Service
from serving.generation.interpolate import mix
from serving.model.load import Model
from tests.serving.client import fetch as ask_service
from tests.serving.verify.conftest import Check, Fetch
from tests.serving.verify.pngs import Chunk, joined, with_chunk, with_header, with_lines, with_origin, with_text

REFUSED: list[tuple[str, Callable[[bytes], bytes], str]] = [
    ("empty", lambda data: b"", "the file must have 1..68157440 bytes by GAN_MAX_PIXELS, has 0"),
    ("HTML", lambda data: b"<!doctype html>", "not a PNG: it must begin with the bytes 89504e470d0a1a0a, begins with 3c21"),
    ("signature alone", lambda data: data[:8], "truncated: it ends at byte 8 without an IEND"),
    ("cut in half", lambda data: data[: len(data) // 2], "truncated: the IDAT chunk at byte"),
    ("one byte short", lambda data: data[:-1], "truncated"),
    ("a byte more", lambda data: data + b"x", "1 bytes follow its end"),
    ("wrong CRC", lambda data: data[:-20] + b"\0" + data[-19:], "must have CRC"),
    ("a length of 4 GB", lambda data: data[:33] + b"\xff\xff\xff\xff" + data[37:], "says 4294967295 bytes"),
    ("a type of no letters", lambda data: with_chunk(data, (b"a1bc", b""), 1), "four letters, got b'a1bc'"),
    ("many chunks", lambda data: joined([*read_png(data).chunks[:1], *[(b"abcd", b"")] * 70_000]), "at most 65536 chunks"),
    ("no header", lambda data: joined(read_png(data).chunks[1:]), "and no others, this has tEXt, IDAT, IEND"),
    ("two headers", lambda data: with_chunk(data, read_png(data).chunks[0], 1), "this has IHDR, IHDR, tEXt, IDAT, IEND"),
    ("header of 12 bytes", lambda data: joined([(b"IHDR", bytes(12)), *read_png(data).chunks[1:]]), "13 bytes, has 12"),
    ("no width", lambda data: with_header(data, width=0), "width and height must be 1..2147483647, got 0 and 28"),
    ("very wide", lambda data: with_header(data, width=2**31 - 1), "must be 28x28 grey, is 2147483647x28 grey"),
    ("RGB", lambda data: with_header(data, colour=2), "must be 28x28 grey, is 28x28 RGB"),
    ("a palette", lambda data: with_header(data, colour=3), "8-bit grey or RGB"),
    ("16 bits", lambda data: with_header(data, depth=16), "got bit depth 16"),
    ("interlaced", lambda data: with_header(data, interlace=1), "interlacing 1"),
    ("an unknown critical chunk", lambda data: with_chunk(data, (b"ABCD", b""), 1), "this has IHDR, ABCD, tEXt, IDAT, IEND"),
    ("no pixels", lambda data: joined([c for c in read_png(data).chunks if c[0] != b"IDAT"]), "this has IHDR, tEXt, IEND"),
    ("pixels apart", lambda data: with_chunk(data, (b"IDAT", b""), 1), "this has IHDR, IDAT, tEXt, IDAT, IEND"),
    ("pixels that are no deflate stream", lambda data: with_lines(data, b"\0" * 99), "cannot be decoded"),
    ("too few pixels", lambda data: with_lines(data, zlib.compress(bytes(811))), "must inflate to 812 bytes"),
    ("pixels that are a bomb", lambda data: with_lines(data, zlib.compress(bytes(10**8))), "must inflate to 812 bytes"),
    ("bytes behind the pixels", lambda data: with_lines(data, read_png(data).deflated + b"x"), "must inflate to 812 bytes"),
    ("no checksum of the pixels", lambda data: with_lines(data, read_png(data).deflated[:-4]), "must inflate to 812 bytes"),
    ("a filter of 5", lambda data: with_lines(data, zlib.compress(b"\5" * 812)), "cannot be decoded"),
    (
        "no text",
        lambda data: joined([c for c in read_png(data).chunks if c[0] != b"tEXt"]),
        "tEXt (how it was made), IDAT and IEND and no others, this has IHDR, IDAT, IEND",
    ),
    (
        "another text",
        lambda data: with_text(data, b"gan2\0{}"),
        "the text chunk must be 'gan', which says how it was made, is 'gan2'",
    ),
    ("two texts", lambda data: with_text(data, b"gan\0{}", times=2), "this has IHDR, tEXt, tEXt, IDAT, IEND"),
    (
        "a compressed bomb of a text",
        lambda data: with_text(data, b"gan\0\0" + zlib.compress(bytes(10**8)), b"zTXt"),
        "this has IHDR, zTXt, IDAT, IEND",
    ),
    ("a long text", lambda data: with_text(data, b"gan\0" + b" " * 10**6), "at most 65536 bytes, has 1000000"),
    ("a text that is not JSON", lambda data: with_text(data, b"gan\0{"), "must be JSON"),
    ("a text of other bytes", lambda data: with_text(data, b"gan\0\xff\n\0"), "must be JSON"),
    ("nested lists", lambda data: with_text(data, b"gan\0" + b"[" * 60_000), "must be JSON"),
    ("a number of 60000 digits", lambda data: with_text(data, b'gan\0{"seed":' + b"9" * 60_000 + b"}"), "must be JSON"),
    ("a list", lambda data: with_text(data, b"gan\0[]"), "must be a JSON object of model, digest"),
    ("an empty object", lambda data: with_text(data, b"gan\0{}"), "has nothing"),
    ("a further name", lambda data: with_origin(data, truncation=0.5), "scale, parameters, truncation"),
]


@pytest.mark.parametrize(("change", "reason"), [case[1:] for case in REFUSED], ids=[case[0] for case in REFUSED])
def test_a_damaged_or_hostile_file_is_refused(
    fetch: Fetch, check: Check, change: Callable[[bytes], bytes], reason: str
) -> None:
    """For any damaged file the exit code is 2 and one line says what is wrong and what would be right."""
    code, line = check(change(fetch("model=grey&seed=42")))
    assert code == 2
    assert reason in line


EXTRA_CHUNKS: dict[str, list[Chunk]] = {
    "an animation": [
        (b"acTL", struct.pack(">II", 1, 0)),
        (b"fcTL", struct.pack(">IIIIIHHBB", 0, 28, 28, 0, 0, 1, 1, 0, 0)),
        (b"fdAT", struct.pack(">I", 1) + zlib.compress(bytes(812))),
    ],
    "transparency": [(b"tRNS", b"\0\0")],
    "gamma": [(b"gAMA", struct.pack(">I", 10**6))],
    "chromaticities": [(b"cHRM", bytes(32))],
    "a colour profile": [(b"iCCP", b"x\0\0" + zlib.compress(b"x"))],
    "a colour space": [(b"cICP", bytes([9, 16, 0, 1]))],
    "an orientation": [(b"eXIf", b"MM\0*\0\0\0\x08\0\1\1\x12\0\3\0\0\0\1\0\6\0\0\0\0\0\0")],
    "sides of a pixel": [(b"pHYs", struct.pack(">IIB", 1, 9, 0))],
    "a palette": [(b"PLTE", bytes(3))],
    "a private chunk": [(b"abCd", b"")],
}


@pytest.mark.parametrize("extra", EXTRA_CHUNKS.values(), ids=EXTRA_CHUNKS)
def test_a_chunk_that_the_service_does_not_write_is_refused(fetch: Fetch, check: Check, extra: list[Chunk]) -> None:
    """A chunk that may change what a viewer shows never counts as a match: the line names it."""
    first, text, *others = read_png(fetch("model=grey&seed=42")).chunks
    code, line = check(joined([first, text, *extra, *others]))
    assert code == 2
    assert ", ".join(kind.decode() for kind, _ in extra) in line


@pytest.mark.parametrize("kind", [b"tEXt", b"zTXt", b"iTXt"])
def test_another_text_is_refused(fetch: Fetch, check: Check, kind: bytes) -> None:
    """A text under another keyword may hold an orientation (XMP, a raw EXIF profile): it is refused, too."""
    code, line = check(with_chunk(fetch("model=grey&seed=42"), (kind, b"XML:com.adobe.xmp\0\0\0\0\0x"), 1))
    assert code == 2
    assert line.endswith(f"this has IHDR, {kind.decode()}, tEXt, IDAT, IEND")


WRONG_VALUES: list[tuple[dict[str, object], str]] = [
    ({"seed": -1}, "the text chunk's seed must be 0..4294967295, got -1"),
    ({"seed": 2**32}, "got 4294967296"),
    ({"seed": True}, "got true"),
    ({"seed": "42"}, 'seed must be 0..4294967295, got "42"'),
    ({"seed": 1.0}, "got 1.0"),
    ({"seed": float("nan")}, "got NaN"),
    ({"seed": 10**3000}, "seed must be 0..4294967295, got 1000"),
    ({"n": 0}, "n must be 1..256 by GAN_MAX_IMAGES, got 0"),
    ({"n": 10**9}, "got 1000000000"),
    ({"seed": 2**32 - 1, "n": 2}, "n must be 1..1 for this seed"),
    ({"scale": 17}, "scale must be 1..16 by GAN_MAX_SCALE, got 17"),
    ({"n": 256, "scale": 16}, "at most 16777216 pixels by GAN_MAX_PIXELS"),
    ({"n": 4}, "must be 56x56 grey, is 28x28 grey"),
    ({"digest": "../../etc"}, 'digest must be 64 hexadecimal digits, got "../../etc"'),
    ({"digest": "A" * 64}, "digest must be 64"),
    ({"model": 3}, "model must be text, got 3"),
    ({"runtime": None}, "runtime must be text, got null"),
    ({"parameters": []}, "parameters must be an object of numbers, got []"),
    ({"parameters": {"y": "3"}}, 'parameter y must be a finite number, got "3"'),
    ({"parameters": {"y": float("inf")}}, "parameter y must be a finite number, got Infinity"),
    ({"parameters": {"y": False}}, "parameter y must be a finite number, got false"),
    ({"parameters": {"y": 10}}, "y must be 0..9, got 10"),
    ({"parameters": {"y": 3.5}}, "y must be 0..9, got 3.5"),
    ({"parameters": {"c0": 1.5}}, "c0 must be -1..1, got 1.5"),
    ({"parameters": {"z0\n": 1}}, "no parameter 'z0\\n'; declared are y, c0, c1"),
    ({"parameters": {"\u0661" * 40: 1}}, "at most 32 characters, got '\\u0661"),
]


@pytest.mark.parametrize(("changes", "reason"), WRONG_VALUES, ids=lambda value: str(value)[:40])
def test_an_absurd_value_is_refused(fetch: Fetch, check: Check, changes: dict[str, object], reason: str) -> None:
    """A value that no service writes is refused with the right range, before anything of its size is allocated."""
    code, line = check(with_origin(fetch("seed=42"), **changes))
    assert code == 2
    assert reason in line


def test_a_model_without_pictures_is_refused(fetch: Fetch, check: Check, models: dict[str, Model]) -> None:
    """A file that names a model of tokens is not compared: there is no PNG of them."""
    code, line = check(with_origin(fetch("seed=42"), model="tokens", digest=models["tokens"].digest))
    assert (code, line) == (2, "tokens generates tokens, which have no PNG format")


def test_a_wrong_place_or_count_of_columns_is_refused(make_service: Callable[..., Service], check: Check) -> None:
    """A place that is not 0..1, and columns beyond the number of images are named."""
    service = make_service()
    sheet = ask_service(service, "seed=1&n=3&cols=3").body
    mixed = service.portal.run(mix(service, "a=1&b=2&t=.25", RequestHeaders())).body
    assert check(with_origin(mixed, t=1.5)) == (2, "the text chunk's t must be 0..1, got 1.5")
    assert check(with_origin(sheet, cols=4)) == (2, "the text chunk's cols must be 1..3 for this n, got 4")
