"""Every kind of request to ``/generate`` that must be answered in a known way: the whole of group B, as one table.

The models are those of ``conftest``: ``conditional`` (y 0..9, c0 and c1 -1..1) is the default one. ``n`` ends at 256.
"""

from __future__ import annotations

from typing import NamedTuple


class Case(NamedTuple):
    """A request, and the status and code of its answer."""

    name: str
    query: str
    status: int
    code: str = ""
    accept: str | None = None
    shown: str = ""
    """Text that the answer's detail must hold."""


BAD = "bad_parameter"
SEEDS = "0..4294967295"


def bad_seeds(name: str, *values: str) -> list[Case]:
    """Cases of wrong seeds."""
    return [Case(f"{name} {value[:12]!a}", f"seed={value}", 400, BAD, shown=SEEDS) for value in values]


CASES = [
    Case("plain", "seed=42", 200),
    Case("least seed", "seed=0", 200),
    Case("greatest seed", "seed=4294967295", 200),
    *bad_seeds("B-01", ""),
    Case("B-01 no equals sign", "seed", 400, "bad_query"),
    Case("B-01 nothing between", "seed=1&&n=1", 400, "bad_query"),
    Case("B-01 no name", "=1", 400, "bad_query"),
    *bad_seeds("B-02", "abc", "true", "NaN", "inf", "0x2a", "42.0", "1e3"),
    *bad_seeds("B-03", "-1", "-0", "%2B42", "+42"),
    *bad_seeds(
        "B-04",
        "%D9%A4%D9%A2",
        "%EF%BC%94%EF%BC%92",
        "%E0%A5%AA%E0%A5%A8",
        "%C2%B2",
        "1_000",
        "%2042%20",
        "42%0a",
        "42%C2%A0",
        "042",
    ),
    Case("B-04 raw digits of another script", "seed=\xd9\xa4\xd9\xa2", 400, "bad_query"),
    Case("B-04 raw space", "seed= 42 ", 400, "bad_query"),
    *bad_seeds("B-05", "4294967296", "9007199254740993", "9223372036854775808", "18446744073709551616", "1" + 400 * "0"),
    Case("B-05 5,000 digits", "seed=" + 5000 * "7", 400, "bad_query"),
    Case("B-05 4,000 digits", "seed=" + 4000 * "7", 400, BAD, shown=SEEDS),
    *[Case(f"B-06 n={n}", f"seed=1&n={n}", 400, BAD, shown="n must be 1..256") for n in ("0", "-1", "1.5", "", "01")],
    Case("B-07 greatest n", "seed=1&n=256", 200),
    *[
        Case(f"B-07 n={n}", f"seed=1&n={n}", 400, BAD, shown="n must be 1..256, and up to 4096 as npy or tar")
        for n in (257, 4096, 4097, 10**9)
    ],
    Case("B-07 too many as json", "seed=1&n=257&format=json", 400, BAD, shown="1..256"),
    Case("B-07 greatest n as npy", "model=exact&seed=1&n=4096&format=npy", 200),
    Case("B-07 greatest n as tar", "model=exact&seed=1&n=4096&format=tar", 200),
    Case("B-07 n=4097 as npy", "model=exact&seed=1&n=4097&format=npy", 400, BAD, shown="up to 4096"),
    Case("columns", "seed=1&n=7&cols=7", 200),
    Case("columns of one image", "seed=1&cols=1", 200),
    *[Case(f"cols={c}", f"seed=1&n=7&cols={c}", 400, BAD, shown="cols must be 1..7") for c in ("0", "8", "-1", "2.0", "")],
    *[
        Case(f"columns of a {f}", f"seed=1&n=7&cols=2&format={f}", 400, BAD, shown="cols must be left out for " + f)
        for f in ("npy", "json", "tar")
    ],
    Case("columns of a plot", "model=points2&seed=1&n=7&cols=2&format=png", 400, BAD, shown="cols must be left out for png"),
    Case(
        "too long a side",
        "seed=1&n=256&cols=1&scale=4&format=webp",
        400,
        BAD,
        shown="at most 16383 pixels in webp, not 28672 and 112",
    ),
    Case("too long a side by columns", "model=exact&seed=1&n=256&cols=256&scale=16&format=avif", 200),
    Case("a long side as png", "seed=1&n=256&cols=1&scale=4", 200),
    Case("n passes the last seed", "seed=4294967295&n=2", 400, BAD, shown="n must be 1..1"),
    Case("n ends at the last seed", "seed=4294967294&n=2", 200),
    Case("class", "seed=1&y=3", 200),
    Case("codes", "seed=1&c0=.5&c1=-1", 200),
    *[
        Case(f"B-08 y={y}", f"seed=1&y={y}", 400, BAD, shown="y must be an integer 0..9")
        for y in ("10", "-1", "3.0", "", "three")
    ],
    *[
        Case(f"B-08 c0={c}", f"seed=1&c0={c}", 400, BAD, shown="c0 must be a number -1..1")
        for c in ("1.01", "-2", "NaN", "inf", "1e308", "1e-3", "", ".", "1.", "+1", "0x1", "00.5")
    ],
    *[Case(f"B-08 scale={s}", f"seed=1&scale={s}", 400, BAD, shown="1..16") for s in ("0", "17", "2.0", "-1")],
    Case("enlarged", "seed=1&scale=16", 200),
    Case("too many pixels", "seed=1&n=256&scale=16", 400, BAD, shown="at most 16777216 pixels"),
    Case("too many pixels in a tar", "seed=1&n=1000&scale=8&format=tar", 400, BAD, shown="at most 16777216 pixels"),
    Case("enlarged in a tar", "seed=1&n=2&scale=2&format=tar", 200),
    Case("only pictures are enlarged", "seed=1&scale=2&format=npy", 400, BAD, shown="scale must be 1"),
    Case("B-09 twice", "seed=1&seed=2", 400, "repeated_parameter", shown="'seed' must be given once"),
    Case("B-09 twice the same", "seed=1&seed=1", 400, "repeated_parameter"),
    Case("B-09 twice, one escaped", "seed=1&%73eed=1", 400, "repeated_parameter"),
    *[
        Case(f"B-10 {name}", f"{name}=1", 400, "unknown_parameter", shown=shown)
        for name, shown in (
            ("Seed", "'Seed'"),
            ("seed[]", "'seed[]'"),
            ("seed%00", r"'seed\x00'"),
            ("foo", "'foo'"),
            ("z", "'z'"),
            ("c", "'c'"),
        )
    ],
    Case("B-10 a long name is cut", 100 * "a" + "=1", 400, "unknown_parameter", shown=f"'{64 * 'a'}'"),
    Case("B-11 semicolon", "seed=1;seed=2", 400, BAD, shown="'1;seed=2'"),
    Case("B-12 escaped name", "%73eed=7", 200),
    *[Case(f"B-13 {value}", f"seed={value}", 400, "bad_query") for value in ("%ff", "%", "%zz", "%u0034", "%4")],
    *bad_seeds("B-14", "42%00", "%00"),
    *[
        Case(
            f"B-16 format={f}",
            f"seed=1&format={f}",
            400,
            BAD,
            shown="format must be one of png, webp, jpeg, avif, npy, json, tar",
        )
        for f in ("gif", "PNG", "../png", "")
    ],
    *[Case(f"format={f}", f"seed=1&format={f}", 200) for f in ("png", "webp", "jpeg", "avif", "npy", "json", "tar")],
    Case("B-17 webp", "seed=1", 200, accept="image/webp"),
    Case("B-17 avif", "seed=1", 200, accept="image/avif"),
    Case("B-17 one type out of a refused kind", "seed=1", 200, accept="image/*;q=0, image/png"),
    Case("B-17 anything", "seed=1", 200, accept="*/*"),
    Case("B-17 1 KB of ranges", "seed=1", 406, "not_acceptable", accept=", ".join(f"text/x{i}" for i in range(100))),
    Case("B-17 1 KB of ranges and one that fits", "seed=1", 200, accept=", ".join(f"text/x{i}" for i in range(100)) + ",*/*"),
    Case("B-17 8 KB of ranges", "seed=1", 431, "headers_too_large", accept=", ".join(f"text/x{i}" for i in range(800))),
    Case("B-17 malformed quality", "seed=1", 406, "not_acceptable", accept="image/png;q=abc"),
    Case("B-17 nothing fits", "seed=1", 406, "not_acceptable", accept="text/html", shown="image/png, image/webp, image/jpeg"),
    Case("B-18 the parameter wins", "seed=1&format=png", 200, accept="image/jpeg"),
    Case("another model", "model=colour&seed=1", 200),
    Case("another model's parameters", "model=grey&seed=1&y=3", 400, "unknown_parameter", shown="'y'"),
    *[
        Case(f"model={m}", f"model={m}", 400, BAD, shown="model must be one of conditional, grey")
        for m in ("", "GREY", "../grey", "grey%00", "grey.onnx", "%2e%2e")
    ],
    Case("points", "model=points2&seed=1", 200),
    Case("points have no webp", "model=points2&seed=1&format=webp", 400, BAD, shown="json, npy, png"),
    Case("points plotted", "model=points2&seed=1&n=256&format=png", 200),
    Case("tokens", "model=tokens&seed=1", 200),
    Case("tokens have no picture", "model=tokens&seed=1", 406, "not_acceptable", accept="image/*"),
    Case("script", "seed=<script>", 400, BAD),
    Case("header injection", "seed=1%0d%0aSet-Cookie:x=1", 400, BAD, shown=r"'1\r\nSet-Cookie:x=1'"),
    Case("header injection by model", "model=%0d%0aSet-Cookie:x=1", 400, BAD),
]
