"""HTTP's conditional and content negotiation for one resource in several formats (RFC 9110, 12.5.1, 13.1.1 and 13.1.2)."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from functools import lru_cache

from contract import Overrides
from serving.errors import BadParameter, HeadersTooLarge, NotAcceptable, PreconditionFailed
from serving.model.load import ModelFacts

QUALITY = re.compile(r"0(?:\.[0-9]{0,3})?|1(?:\.0{0,3})?", re.ASCII)
MAX_ACCEPT = 1024
"""Characters of an Accept header, at most: it is parsed on the event loop. Those of browsers have less than 300."""


def choose_format(media_types: Mapping[str, str], requested: str | None, accept: str | None) -> str:
    """Return the name of the response's format.

    Args:
        media_types: by format name, the server's preference first.
        requested: the ``format`` parameter; it wins over Accept.
        accept: the Accept header.

    Raises:
        BadParameter: there is no such format.
        HeadersTooLarge: Accept is needed and has more than ``MAX_ACCEPT`` characters.
        NotAcceptable: Accept allows none of them.
    """
    if requested is not None:
        if requested not in media_types:
            raise BadParameter("format", requested, f"one of {', '.join(media_types)}")
        return requested
    if not accept or accept == "*/*":
        return next(iter(media_types))
    if len(accept) > MAX_ACCEPT:
        raise HeadersTooLarge(f"Accept must have at most {MAX_ACCEPT} characters, has {len(accept)}")
    ranges = parse_accept(accept)
    best = max(media_types, key=lambda name: quality(media_types[name], ranges))
    if quality(media_types[best], ranges) == 0:
        raise NotAcceptable(accept, list(media_types.values()))
    return best


@lru_cache(64)
def parse_accept(accept: str) -> Mapping[str, float]:
    """Return the quality of each media range; a range with a malformed quality is left out, as an empty one is."""
    ranges: dict[str, float] = {}
    for part in filter(str.strip, accept.split(",")):
        media_range, *parameters = (piece.strip().lower() for piece in part.split(";"))
        qualities = [p.removeprefix("q=") for p in parameters if p.startswith("q=")]
        if all(QUALITY.fullmatch(q) for q in qualities):
            ranges[media_range] = float(qualities[0]) if qualities else 1.0
    return ranges


def quality(media_type: str, ranges: Mapping[str, float]) -> float:
    """Return the quality of a media type: that of the most specific range that covers it, else 0."""
    kind = media_type.partition("/")[0]
    for media_range in (media_type, f"{kind}/*", "*/*"):
        if media_range in ranges:
            return ranges[media_range]
    return 0.0


def entity_tag(model: ModelFacts, encoder: str, name: str, overrides: Overrides, *parameters: object) -> str:
    """Return the strong entity tag of a body: a hash of the model, the encoder, the format and the parameters."""
    parts = (model.fingerprint, encoder, name, *parameters, *overrides.items())
    return f'"{hashlib.sha256(repr(parts).encode()).hexdigest()[:32]}"'


def matches(if_none_match: str | None, etag: str) -> bool:
    """Whether an If-None-Match header names this entity tag, by weak comparison.

    A list of entity tags has the text of one, with its quotes, only as a member; a search is quick in 64 KiB, too.
    """
    return if_none_match is not None and (etag in if_none_match or if_none_match.strip() == "*")


def check_if_match(if_match: str | None, etag: str) -> None:
    """Check that an If-Match header, if there is one, names this entity tag, by strong comparison.

    Raises:
        PreconditionFailed: it does not.
    """
    if if_match is not None and if_match.strip() != "*" and etag not in if_match.replace(f"W/{etag}", ""):
        raise PreconditionFailed(if_match, etag)
