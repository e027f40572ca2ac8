"""The header ``traceparent`` as a client sends it."""

from __future__ import annotations

import pytest

from serving.observability.request_context import parse_traceparent
from tests.serving.observability.log_file import PARENT, SPAN, TRACE


@pytest.mark.parametrize(
    "header",
    [
        PARENT,
        f" {PARENT}\t",
        f"00-{TRACE}-{SPAN}-00",
        f"00-{TRACE}-{SPAN}-ff",
        f"01-{TRACE}-{SPAN}-01",
        f"cc-{TRACE}-{SPAN}-01-what-the-future-brings",
    ],
)
def test_a_traceparent_is_read(header: str) -> None:
    """Version 00 is parsed exactly, later versions by the fields of version 00."""
    parent = parse_traceparent(header, "a=1")
    assert parent is not None
    assert (parent.trace_id, parent.span_id, parent.state) == (TRACE, SPAN, "a=1")


@pytest.mark.parametrize(
    "header",
    [
        "",
        "00",
        f"00-{TRACE}-{SPAN}",
        f"00-{TRACE}-{SPAN}-01-more",
        f"00-{TRACE}-{SPAN}-01-",
        f"ff-{TRACE}-{SPAN}-01",
        f"00-{TRACE.upper()}-{SPAN}-01",
        f"00-{'0' * 32}-{SPAN}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"00-{TRACE[1:]}-{SPAN}-01",
        f"00-{TRACE}-{SPAN}0-01",
        f"00-{TRACE}-{SPAN}-1",
        f"0-{TRACE}-{SPAN}-01",
        f"00-{TRACE}-{SPAN}-0g",
        f"cc-{TRACE}-{SPAN}-01.more",
        f"00-{TRACE}-{SPAN}-01\n",
    ],
)
def test_a_wrong_traceparent_is_none(header: str) -> None:
    """Upper case, zeros, a wrong length or version ff is invalid: W3C Trace Context, 3.2.2."""
    assert parse_traceparent(header) is None
