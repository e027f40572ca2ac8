"""``/walk`` and ``/mix``: strict questions, exact ends, and the same bytes for the same question."""

from __future__ import annotations

import asyncio
import io
import json
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from flask import Flask
from PIL import Image as Pictures
from PIL import ImageSequence

from serving.encoding.formats import PNG_KEYWORD
from serving.generation.generate import Reply, RequestHeaders, Service, generate
from serving.generation.interpolate import arithmetic, mix, walk
from serving.http.asgi import ASGIApp
from serving.latents.interpolation import between, frame_positions
from serving.model.load import Model
from tests.serving.client import ask, measured, service_of
from tests.serving.corpus import BAD, Case
from tests.serving.sessions import CountingSession

BOTH = "from=1&to=2"
SEEDS = "0..4294967295"
WALKS = [
    Case("plain", BOTH, 200),
    Case("a seed to itself", "from=7&to=7", 200),
    Case("ends of the range", "from=0&to=4294967295", 200),
    Case("all parameters", f"{BOTH}&frames=5&format=gif&fps=50&loop=65535&back=on&scale=2&model=conditional&y=3&c0=.5", 200),
    *[Case(f"format={f}", f"{BOTH}&frames=3&format={f}", 200) for f in ("webp", "apng", "gif", "npy", "json")],
    *[Case(f"accept {a}", f"{BOTH}&frames=3", 200, accept=a) for a in ("image/gif", "image/apng", "application/json", "*/*")],
    Case("colour", f"model=colour&{BOTH}&frames=3&format=gif", 200),
    Case("points", f"model=points2&{BOTH}", 200),
    Case("tokens", f"model=tokens&{BOTH}&format=npy", 200),
    Case("no end", "from=1", 400, "missing_parameter", shown=f"to must be given: a seed {SEEDS}"),
    Case("no start", "to=1", 400, "missing_parameter", shown="from must be given"),
    Case("nothing", "", 400, "missing_parameter", shown="from must be given"),
    *[Case(f"from={s}", f"from={s}&to=1", 400, BAD, shown=f"from must be {SEEDS}") for s in ("-1", "4294967296", "x", "")],
    *[Case(f"frames={n}", f"{BOTH}&frames={n}", 400, BAD, shown="frames must be 2..256") for n in ("0", "1", "257", "2.0", "")],
    *[Case(f"fps={n}", f"{BOTH}&fps={n}", 400, BAD, shown="fps must be 1..50") for n in ("0", "51", "24.5")],
    *[Case(f"loop={n}", f"{BOTH}&loop={n}", 400, BAD, shown="loop must be 0..65535") for n in ("-1", "65536", "on")],
    *[Case(f"back={v}", f"{BOTH}&back={v}", 400, BAD, shown="back must be one of on, off") for v in ("1", "true", "", "ON")],
    Case("png does not move", f"{BOTH}&format=png", 400, BAD, shown="format must be one of webp, apng, gif, npy, json"),
    Case("points do not move", f"model=points2&{BOTH}&format=webp", 400, BAD, shown="format must be one of json, npy"),
    Case("nothing fits", BOTH, 406, "not_acceptable", accept="image/png"),
    *[
        Case(f"{p} of rows", f"{BOTH}&format=npy&{p}", 400, BAD, shown=f"{p.split('=')[0]} must be ")
        for p in ("fps=13", "loop=1", "back=on")
    ],
    Case("rows are not enlarged", f"{BOTH}&format=npy&scale=2", 400, BAD, shown="1 for npy; pictures only can be enlarged"),
    Case("spelt out for rows", f"{BOTH}&format=npy&fps=12&loop=0&back=off&scale=1&frames=24", 200),
    Case("twice", f"{BOTH}&from=1", 400, "repeated_parameter", shown="'from'"),
    Case("a seed", f"{BOTH}&seed=1", 400, "unknown_parameter", shown="'seed'; there are from, to, frames"),
    Case("another model's parameter", f"model=grey&{BOTH}&y=3", 400, "unknown_parameter", shown="'y'"),
    Case("a wrong class", f"{BOTH}&y=10", 400, BAD, shown="y must be an integer 0..9"),
    Case("no such model", f"model=no&{BOTH}", 400, BAD, shown="model must be one of"),
    Case("too many pixels", f"{BOTH}&frames=256&scale=16", 400, BAD, shown="scale must be so small that the answer has at"),
    Case("too many pixels on the way back", f"{BOTH}&frames=50&scale=16&back=on", 400, BAD, shown="not 19668992"),
]
MIXES = [
    Case("half way", "a=1&b=2", 200),
    *[Case(f"t={t}", f"a=1&b=2&t={t}", 200) for t in ("0", "1", ".3", "0.30", "1.0", "-0")],
    *[Case(f"format={f}", f"a=1&b=2&format={f}", 200) for f in ("png", "webp", "jpeg", "avif", "npy", "json")],
    Case("points", "model=points2&a=1&b=2&format=png", 200),
    Case("enlarged", "a=1&b=2&scale=16&y=3", 200),
    *[Case(f"t={t}", f"a=1&b=2&t={t}", 400, BAD, shown="t must be a number 0..1") for t in ("1.1", "-.1", "nan", "1e-1", "")],
    Case("no b", "a=1", 400, "missing_parameter", shown="b must be given"),
    Case("no tar of one", "a=1&b=2&format=tar", 400, BAD, shown="format must be one of png, webp, jpeg, avif, npy, json, got"),
    Case("no count", "a=1&b=2&n=2", 400, "unknown_parameter", shown="'n'; there are a, b, t"),
    Case("too large a seed", "a=1&b=4294967296", 400, BAD, shown=f"b must be {SEEDS}"),
    Case("rows are not enlarged", "a=1&b=2&format=npy&scale=2", 400, BAD, shown="scale must be 1 for npy"),
    Case("nothing fits", "a=1&b=2", 406, "not_acceptable", accept="image/gif"),
]
ASKED = [*(("/walk", case) for case in WALKS), *(("/mix", case) for case in MIXES)]


@pytest.mark.parametrize(("path", "case"), ASKED, ids=[f"{path} {case.name}" for path, case in ASKED])
def test_each_request_is_answered_as_the_table_says(app: ASGIApp, path: str, case: Case) -> None:
    """A request gets the table's status; an error is problem+json with its code, the wrong value and the right range."""
    answer = ask(app, case.query, path=path, headers={"Accept": case.accept} if case.accept else None)
    assert answer.status == case.status, answer.body
    assert (answer.headers["Vary"], answer.headers["X-Content-Type-Options"]) == ("Accept", "nosniff")
    if case.status != 200:
        problem = json.loads(answer.body)
        assert answer.headers["Content-Type"] == "application/problem+json"
        assert (problem["status"], problem["code"]) == (case.status, case.code)
        assert case.shown in problem["detail"]


def test_each_animation_has_its_media_type(app: ASGIApp) -> None:
    """WebP, APNG and GIF come as image/webp, image/apng and image/gif."""
    found = {f: ask(app, f"{BOTH}&frames=2&format={f}", path="/walk").headers["Content-Type"] for f in ("webp", "apng", "gif")}
    assert found == {"webp": "image/webp", "apng": "image/apng", "gif": "image/gif"}


def get(make: Any, service: Service, query: str, request_headers: RequestHeaders | None = None) -> Reply:
    reply: Reply = service.portal.run(make(service, query, request_headers or RequestHeaders()))
    return reply


def rows(reply: Reply) -> Any:
    return np.load(io.BytesIO(reply.body), allow_pickle=False)


@pytest.mark.parametrize("name", ["conditional", "colour", "points2", "tokens"])
def test_a_walk_and_a_mix_begin_and_end_with_the_seeds(make_service: Callable[..., Service], name: str) -> None:
    """First and last row of a walk, and a mix at 0 and at 1, are bit-equal to the rows of ``/generate``."""
    service = make_service()
    seeds = [rows(get(generate, service, f"model={name}&seed={seed}&format=npy"))[0] for seed in (5, 9)]
    way = rows(get(walk, service, f"model={name}&from=5&to=9&frames=7&format=npy"))
    assert way.shape[0] == 7
    assert np.array_equal(way[[0, -1]], seeds)
    for t, seed in zip((0, 1), seeds, strict=True):
        assert np.array_equal(rows(get(mix, service, f"model={name}&a=5&b=9&t={t}&format=npy"))[0], seed)


def test_a_mix_is_a_frame_of_the_walk(make_service: Callable[..., Service]) -> None:
    """The frame at a quarter of a walk of 70, more than a batch, is the mix at a quarter; given values hold in both."""
    service = make_service()
    way = rows(get(walk, service, "from=5&to=9&frames=69&format=npy&y=4"))
    assert np.array_equal(way[17], rows(get(mix, service, "a=5&b=9&t=.25&format=npy&y=4"))[0])
    assert np.array_equal(way[0], rows(get(generate, service, "seed=5&y=4&format=npy"))[0])


def test_a_walk_is_the_same_in_any_company(make_service: Callable[..., Service]) -> None:
    """Twenty walks, mixes and samples asked at once share batches, and each brings the bytes that it brings alone."""
    service = make_service()
    asked = [(walk, f"from={i}&to=9&frames=9&format=npy") for i in range(6)]
    asked += [(mix, f"a={i}&b=3&t=.4&format=npy&y=1") for i in range(7)] + [
        (generate, f"seed={i}&format=npy") for i in range(7)
    ]

    async def together() -> list[Reply]:
        return await asyncio.gather(*(make(service, query, RequestHeaders()) for make, query in asked))

    alone = [get(make, service, query).body for make, query in asked]
    batches = measured(service, "gan_batch_size_count")
    assert [reply.body for reply in service.portal.run(together())] == alone
    assert measured(service, "gan_batch_size_count") - batches < len(asked)


@pytest.mark.parametrize("name", ["webp", "apng", "gif"])
@pytest.mark.parametrize("back", ["on", "off"])
def test_the_frames_are_the_rows(make_service: Callable[..., Service], models: dict[str, Model], name: str, back: str) -> None:
    """Each frame of the file is the image at its place, enlarged; back and forth shows each but the ends twice."""
    model = models["conditional"]
    frames = model.run(between(model.card.latents, 1, 2, frame_positions(5), {"y": 3}))
    assert all((one != other).any() for one, other in pairwise(frames))
    reply = get(walk, make_service(), f"from=1&to=2&frames=5&y=3&scale=2&back={back}&format={name}")
    with Pictures.open(io.BytesIO(reply.body)) as picture:
        found = [np.asarray(frame.convert("L")) for frame in ImageSequence.Iterator(picture)]
    order = [0, 1, 2, 3, 4, 3, 2, 1] if back == "on" else [0, 1, 2, 3, 4]
    assert np.array_equal(found, frames[order, :, :, 0].repeat(2, 1).repeat(2, 2))


def test_files_say_how_to_make_them_again(make_service: Callable[..., Service], models: dict[str, Model]) -> None:
    """The text in an APNG names the walk and how it is played, that of a mix's PNG the place, both model and digest."""
    service = make_service()
    common = {"model": "conditional", "digest": models["conditional"].digest, "runtime": models["conditional"].runtime}
    for make, query, right in (
        (
            walk,
            "from=1&to=2&frames=3&fps=7&back=on&y=3&format=apng",
            {"from": 1, "to": 2, "frames": 3, "fps": 7, "loop": 0, "back": "on", "scale": 1, "parameters": {"y": 3}},
        ),
        (mix, "a=1&b=2&t=.25&scale=2", {"a": 1, "b": 2, "t": 0.25, "scale": 2, "parameters": {}}),
    ):
        with Pictures.open(io.BytesIO(get(make, service, query).body)) as picture:
            assert json.loads(picture.info[PNG_KEYWORD]) == {**common, **right}


@pytest.mark.parametrize(("make", "query"), [(walk, "from=1&to=2&frames=3"), (mix, "a=1&b=2"), (arithmetic, "a=1&b=2&c=3")])
def test_304_and_head_run_nothing(
    make_service: Callable[..., Service], models: dict[str, Model], make: Any, query: str
) -> None:
    """The entity tag is known without inference, so HEAD and a matching If-None-Match cost none, as for ``/generate``."""
    session = CountingSession(models["conditional"].session)
    idle = make_service({"conditional": replace(models["conditional"], session=session)})
    answer = get(make, make_service(), query)
    head = get(make, idle, query, RequestHeaders(is_head=True))
    assert [h for h in answer.headers if h[0] != "Content-Length"] == head.headers
    assert dict(head.headers)["Cache-Control"] == "public, no-cache"
    not_modified = get(make, idle, query, RequestHeaders(if_none_match=dict(head.headers)["ETag"]))
    assert (not_modified.status, not_modified.body, not_modified.cache) == (304, b"", "not_modified")
    assert session.fed == []


def test_every_difference_has_its_entity_tag(make_service: Callable[..., Service]) -> None:
    """Another route, seed, place, count, format, rate, loop, way back, scale, value or model is another entity tag."""
    service = make_service()
    asked = [
        (walk, f"from=1&to=2{more}")
        for more in ("", "&frames=23", "&format=gif", "&fps=13", "&loop=1", "&back=on", "&scale=2", "&y=3", "&model=grey")
    ] + [(walk, "from=2&to=1")]
    asked += [(mix, f"a=1&b=2{more}") for more in ("", "&t=.4", "&scale=2", "&y=3")] + [(mix, "a=2&b=1"), (generate, "seed=1")]
    etags = [dict(get(make, service, query, RequestHeaders(is_head=True)).headers)["ETag"] for make, query in asked]
    assert len(set(etags)) == len(asked)


@pytest.mark.parametrize(
    ("make", "one", "other"),
    [
        (walk, "from=1&to=2", "to=2&from=1&frames=24&fps=12&loop=0&back=off&scale=1&format=webp&model=conditional"),
        (mix, "a=1&b=2", "t=0.50&b=2&a=1&scale=1&format=png"),
        (mix, "a=1&b=2&t=0", "a=1&b=2&t=-0.0"),
    ],
)
def test_two_ways_to_say_the_same_have_one_answer(
    make_service: Callable[..., Service], make: Any, one: str, other: str
) -> None:
    """Order, notation and defaults spelt out change neither entity tag nor bytes."""
    service = make_service()
    assert get(make, service, one) == get(make, service, other)


def test_a_walk_is_kept(make_service: Callable[..., Service]) -> None:
    """The same question again is answered from what was kept."""
    service = make_service(cache_bytes=2**20)
    replies = [get(walk, service, "from=1&to=2&frames=3") for _ in range(2)]
    assert [reply.cache for reply in replies] == ["miss", "hit"]
    assert replies[0].body == replies[1].body


@pytest.mark.slow
def test_with_and_without_the_lane_the_answer_is_the_same(app: ASGIApp, flask_only: Flask) -> None:
    """Walks and mixes are Flask's in either case."""
    for path, query in (("/walk", "from=1&to=2&frames=3"), ("/mix", "a=1&b=2"), ("/mix", "a=1")):
        assert ask(app, query, path=path) == ask(flask_only, query, path=path)


def test_requests_are_counted_under_their_route(app: ASGIApp) -> None:
    """A walk counts as ``/walk``, its encoding under the format's name."""
    service = service_of(app)
    labels = {"route": "/walk", "method": "GET", "code": "200"}
    before = measured(service, "gan_http_requests_total", **labels)
    ask(app, "from=11&to=12&frames=2&format=apng", path="/walk")
    assert measured(service, "gan_http_requests_total", **labels) == before + 1
    assert measured(service, "gan_encode_duration_seconds_count", format="apng")


def test_a_latent_may_be_called_like_a_parameter(make_service: Callable[..., Service], models: dict[str, Model]) -> None:
    """Of a latent called ``t`` the route's ``t`` takes precedence on ``/mix``; on ``/generate`` it can be asked for."""
    model = models["conditional"]
    named = replace(model, parameters={**model.parameters, "t": replace(model.parameters["c0"], name="t")})
    service = make_service({"conditional": named})
    assert get(mix, service, "a=1&b=2&t=1").status == 200
    assert get(generate, service, "seed=1&t=-.5", RequestHeaders(is_head=True)).status == 200
