"""``a - b + c``: the laws of the sum, the prior's scale, and ``/arithmetic`` with the promises of ``/mix``."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from flask import Flask
from hypothesis import given
from hypothesis import strategies as st

from contract import MAX_SEED, Categorical, DrawError, Latents, Normal, Uniform, digest_latents, draw
from serving.encoding.formats import PNG_KEYWORD
from serving.encoding.png_reader import read_png
from serving.generation.generate import Reply, RequestHeaders, Service, generate
from serving.generation.interpolate import arithmetic, mix
from serving.http.asgi import ASGIApp
from serving.latents.arithmetic import VectorSum, combine, weigh
from serving.latents.interpolation import Interpolation
from serving.latents.sources import draw_rows
from serving.model.load import Model
from tests.serving.client import ask
from tests.serving.corpus import BAD, Case
from tests.serving.generation.test_interpolate import get, rows
from tests.serving.latents.test_interpolation import COMPONENTS, LATENTS, SEEDS, VALUES, same

ALL = "a=1&b=2&c=3"
REQUESTS = [
    Case("plain", ALL, 200),
    *[Case(f"format={f}", f"{ALL}&format={f}", 200) for f in ("png", "webp", "jpeg", "avif", "npy", "json")],
    Case("points", f"model=points2&{ALL}&format=png", 200),
    Case("tokens", f"model=tokens&{ALL}", 200),
    Case("all parameters", f"{ALL}&scale=16&y=3&c0=.5&format=png&model=conditional", 200),
    *[
        Case(
            f"no {name}",
            "&".join(p for p in ALL.split("&") if p[0] != name),
            400,
            "missing_parameter",
            shown=f"{name} must be given: a seed 0..{MAX_SEED}",
        )
        for name in "abc"
    ],
    Case("too large a seed", "a=1&b=2&c=4294967296", 400, BAD, shown=f"c must be 0..{MAX_SEED}"),
    Case("no place", f"{ALL}&t=.5", 400, "unknown_parameter", shown="'t'; there are a, b, c, format, scale, model"),
    Case("no tar of one", f"{ALL}&format=tar", 400, BAD, shown="format must be one of png, webp, jpeg, avif, npy, json, got"),
    Case("rows are not enlarged", f"{ALL}&format=npy&scale=2", 400, BAD, shown="scale must be 1 for npy"),
    Case("a wrong class", f"{ALL}&y=10", 400, BAD, shown="y must be an integer 0..9"),
    Case("nothing fits", ALL, 406, "not_acceptable", accept="image/gif"),
]


@given(a=SEEDS, b=SEEDS, values=VALUES)
def test_what_cancels_is_gone(a: int, b: int, values: dict[str, float]) -> None:
    """``b - b + a`` and ``a - b + b`` are what ``a`` draws, bit for bit, given values included."""
    assert same(combine(LATENTS, VectorSum(b, b, a), values), draw(LATENTS, [a], [values]))
    assert same(combine(LATENTS, VectorSum(a, b, b), values), draw(LATENTS, [a], [values]))


@pytest.mark.slow
@given(seeds=st.builds(VectorSum, SEEDS, SEEDS, SEEDS), values=VALUES)
def test_a_given_value_moves_nothing_else(seeds: VectorSum, values: dict[str, float]) -> None:
    """A row with given values is the row without them, but for those components."""
    free, held = combine(LATENTS, seeds), combine(LATENTS, seeds, values)
    expected = draw(LATENTS, [seeds.c], [values])
    for name, (latent, place) in COMPONENTS.items():
        if name in values:
            assert held[latent][place] == expected[latent][place]
            held[latent][place] = free[latent][place]
    assert same(held, free)


def test_the_sum_goes_by_the_formula() -> None:
    """Normal latents are (a - b + c) / sqrt(3), and (2a - b) / sqrt(5) where ``c`` is ``a``; uniform ones about the middle."""
    a, b, c = draw(LATENTS, [5, 6, 7])["z"].astype(np.float64)
    assert combine(LATENTS, VectorSum(5, 6, 7))["z"][0] == pytest.approx((a - b + c) / 3**0.5, rel=1e-6)
    assert combine(LATENTS, VectorSum(5, 6, 5))["z"][0] == pytest.approx((2 * a - b) / 5**0.5, rel=1e-6)
    latents: Latents = {"u": Uniform(50, 2.0, 10.0)}
    a, b, c = draw(latents, [5, 6, 7])["u"].astype(np.float64)
    right = np.clip(6 + (a - b + c - 6) / 3**0.5, 2, 10)
    assert combine(latents, VectorSum(5, 6, 7))["u"][0] == pytest.approx(right, rel=1e-6)


def test_the_sum_stays_on_the_priors_scale() -> None:
    """Normal latents have mean and variance of what seeds draw, uniform ones the mean and nine tenths of the variance."""
    latents: Latents = {"z": Normal(100), "u": Uniform(100)}
    sums = [combine(latents, VectorSum(3 * i, 3 * i + 1, 3 * i + 2)) for i in range(200)]
    z, u = (np.concatenate([row[name] for row in sums]) for name in latents)
    assert (z.mean(), z.var()) == (pytest.approx(0, abs=0.03), pytest.approx(1, abs=0.03))
    assert (u.mean(), u.var()) == (pytest.approx(0, abs=0.02), pytest.approx(0.3, abs=0.01))


@given(seeds=st.builds(VectorSum, SEEDS, SEEDS, SEEDS))
def test_a_uniform_latent_stays_in_its_range(seeds: VectorSum) -> None:
    """No component leaves the range of its declaration."""
    assert (np.abs(combine(LATENTS, seeds)["c"]) <= 1).all()


def test_a_class_is_the_firsts_unless_it_is_taken_away() -> None:
    """The class is ``a``'s; where ``a`` and ``b`` have the same, it is ``c``'s."""
    latents: Latents = {"y": Categorical(3)}
    classes = draw(latents, range(12))["y"].tolist()
    for seeds in (VectorSum(a, b, c) for a in range(12) for b in range(12) for c in range(12) if len({a, b, c}) == 3):
        a, b, c = (classes[seed] for seed in seeds)
        assert combine(latents, seeds)["y"].tolist() == [c if a == b else a]


def test_equal_seeds_are_weighed_together() -> None:
    """Weights of equal seeds are added, and none of weight 0 is left."""
    assert weigh(VectorSum(1, 2, 3)) == {1: 1, 2: -1, 3: 1}
    assert weigh(VectorSum(1, 2, 1)) == {1: 2, 2: -1}
    assert weigh(VectorSum(1, 1, 1)) == {1: 1}


def test_latents_never_change() -> None:
    """The digest of a sum's latents is the one of the day it was written."""
    assert digest_latents(combine(LATENTS, VectorSum(1, 2, 3)), 0) == GOLDEN


@pytest.mark.parametrize("wrong", [-1, MAX_SEED + 1])
def test_a_wrong_seed_is_refused(wrong: int) -> None:
    """A seed out of range is named."""
    with pytest.raises(DrawError, match=f"seed must be 0..{MAX_SEED}, got {wrong}"):
        combine(LATENTS, VectorSum(1, 2, wrong))


def test_sums_seeds_and_places_share_a_batch() -> None:
    """In any batch a sum's row is bit-equal to the one computed alone, and so are its neighbours."""
    found = draw_rows(LATENTS, [7, VectorSum(1, 2, 3), Interpolation(1, 2, 0.5), VectorSum(1, 2, 3)], [{}, {}, {}, {"y": 4}])
    alone = [draw_rows(LATENTS, [source]) for source in (7, VectorSum(1, 2, 3), Interpolation(1, 2, 0.5))]
    alone.append(combine(LATENTS, VectorSum(1, 2, 3), {"y": 4}))
    for row, right in enumerate(alone):
        assert same({name: value[row : row + 1] for name, value in found.items()}, right)


@pytest.mark.parametrize("case", REQUESTS, ids=[case.name for case in REQUESTS])
def test_each_request_is_answered_as_the_table_says(app: ASGIApp, flask_only: Flask, case: Case) -> None:
    """A request gets the table's status, on the fast path and off; an error is problem+json with its code and its words."""
    headers = {"Accept": case.accept} if case.accept else {}
    answer = ask(app, case.query, path="/arithmetic", headers=headers)
    assert answer == ask(flask_only, case.query, path="/arithmetic", headers=headers)
    assert answer.status == case.status, answer.body
    assert (answer.headers["Vary"], answer.headers["X-Content-Type-Options"]) == ("Accept", "nosniff")
    if case.status != 200:
        problem = json.loads(answer.body)
        assert answer.headers["Content-Type"] == "application/problem+json"
        assert (problem["code"], case.shown in problem["detail"]) == (case.code, True)


@pytest.mark.parametrize("name", ["conditional", "colour", "points2", "tokens"])
def test_the_row_of_a_sum_that_cancels_is_the_seeds(make_service: Callable[..., Service], name: str) -> None:
    """``/arithmetic?a=5&b=5&c=9`` and ``a=9&b=5&c=5`` are bit-equal to ``/generate?seed=9``."""
    service = make_service()
    right = rows(get(generate, service, f"model={name}&seed=9&format=npy"))
    for query in ("a=5&b=5&c=9", "a=9&b=5&c=5"):
        assert np.array_equal(rows(get(arithmetic, service, f"model={name}&{query}&format=npy")), right)


def test_sums_asked_together_bring_what_they_bring_alone(make_service: Callable[..., Service]) -> None:
    """Sums, mixes and samples asked at once share batches, and each brings the bytes that it brings alone."""
    service = make_service()
    asked: list[tuple[Any, str]] = [(arithmetic, f"a={i}&b=3&c=4&format=npy") for i in range(6)]
    asked += [(mix, f"a={i}&b=3&format=npy") for i in range(6)] + [(generate, f"seed={i}&format=npy") for i in range(6)]

    async def together() -> list[Reply]:
        return await asyncio.gather(*(make(service, query, RequestHeaders()) for make, query in asked))

    alone = [get(make, service, query).body for make, query in asked]
    assert [reply.body for reply in service.portal.run(together())] == alone


def test_the_picture_says_how_to_make_it_again(make_service: Callable[..., Service], models: dict[str, Model]) -> None:
    """The text in the PNG names the three seeds, the scale, the given values, the model and its digest."""
    origin = json.loads(read_png(get(arithmetic, make_service(), f"{ALL}&scale=2&y=3").body).text(PNG_KEYWORD))
    model = models["conditional"]
    assert origin == {
        "model": "conditional",
        "digest": model.digest,
        "runtime": model.runtime,
        "a": 1,
        "b": 2,
        "c": 3,
        "scale": 2,
        "parameters": {"y": 3},
    }


def test_every_difference_has_its_entity_tag(make_service: Callable[..., Service]) -> None:
    """Another order of seeds, format, scale, value, model or route is another entity tag; another spelling is not."""
    service = make_service()
    queries = [
        *(f"{ALL}{more}" for more in ("", "&format=webp", "&scale=2", "&y=3", "&model=grey")),
        "a=3&b=2&c=1",
        "a=1&b=3&c=2",
    ]
    asked: list[tuple[Any, str]] = [(arithmetic, query) for query in queries] + [(mix, "a=1&b=2&t=1"), (generate, "seed=1")]
    etags = [dict(get(make, service, query, RequestHeaders(is_head=True)).headers)["ETag"] for make, query in asked]
    assert len(set(etags)) == len(asked)
    assert get(arithmetic, service, ALL) == get(arithmetic, service, "c=3&b=2&a=1&scale=1&format=png&model=conditional")


GOLDEN = "e9eeb3cba227bfe376dbbe74fe4b852f16de10e076702e11da6e62d7e490230e"
