"""What is refused because an answer would have too many pixels, and the parameter that the refusal names."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from serving.app import create_app
from serving.errors import BadParameter
from serving.generation.generate import Handler, RequestHeaders, Service, generate
from serving.generation.interpolate import arithmetic, mix, walk
from serving.settings import Settings
from tests.serving.client import fetch

AREA = 28 * 28
WALK, SUM = "model=grey&from=1&to=2", "model=grey&a=1&b=2&c=3"


@pytest.mark.parametrize(
    ("make", "query", "limit", "refusal"),
    [
        (generate, "model=grey", AREA - 1, "model must be one whose smallest answer in png has at most 783 pixels, not 784"),
        (generate, "model=grey&n=2&format=npy", 1, "model must be one whose smallest answer in npy has at most 1 "),
        (generate, "model=grey&n=2", AREA, "n must be so small that the answer has at most 784 pixels, not 1568"),
        (generate, "model=grey&n=3&cols=1", AREA, "n must be so small"),
        (generate, "model=grey&n=5&cols=4", 5 * AREA, "cols must be so small"),
        (generate, "model=grey&n=2&scale=2", 2 * AREA, "scale must be so small"),
        (generate, "model=points2&format=png", 400 * 400 - 1, "model must be one whose smallest answer in png"),
        (mix, "model=grey&a=1&b=2", 1, "model must be one whose"),
        (arithmetic, SUM, 1, "model must be one whose"),
        (walk, WALK, 2 * AREA - 1, "model must be one whose smallest answer in webp has at most 1567 pixels, not 1568"),
        (walk, f"{WALK}&frames=3", 2 * AREA, "frames must be so small"),
        (walk, f"{WALK}&frames=2&scale=2", 2 * AREA, "scale must be so small"),
    ],
)
def test_the_parameter_that_can_help_is_named(
    make_service: Callable[..., Service], make: Handler, query: str, limit: int, refusal: str
) -> None:
    """The model where no other value is small enough; what is just within the limit is answered."""
    if make is generate:
        query += "&seed=1"
    service = make_service(max_pixels=limit)
    with pytest.raises(BadParameter, match=re.escape(refusal)):
        service.portal.run(make(service, query, RequestHeaders(), None))
    service = make_service(max_pixels=10**7)
    assert service.portal.run(make(service, query, RequestHeaders(is_head=True), None)).status == 200


def test_what_is_small_enough_is_answered(make_service: Callable[..., Service]) -> None:
    """At the limit itself there is a sample; points have one below it, as numbers."""
    service = make_service(max_pixels=AREA)
    assert fetch(service, "model=grey&seed=1").status == fetch(service, "model=points2&seed=1").status == 200


@pytest.mark.parametrize(("limit", "told"), [(AREA, []), (AREA - 1, ["grey"])])
def test_the_log_names_a_model_that_is_too_large(home: Path, limit: int, told: list[str]) -> None:
    """At the start there is one line for each model whose picture has more pixels than ``GAN_MAX_PIXELS``."""
    lines: list[dict[str, Any]] = []
    create_app(
        Settings(models=(str(home),), provider="cpu", max_pixels=limit),
        log=lambda event, **facts: lines.append({"event": event, **facts}),
    )
    assert [line["name"] for line in lines if line["event"] == "too_large"] == told
