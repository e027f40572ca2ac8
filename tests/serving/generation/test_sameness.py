"""The same bytes from any process: cold or warm, of more threads or workers, busy, or with another model's tags."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from contract import Image, Normal, digest_latents, draw
from serving.generation.generate import RequestHeaders, Service
from serving.model.load import Model, model_from_bytes
from serving.model.runtime import open_session
from tests.harness.service import running
from tests.serving import tiny_onnx
from tests.serving.client import fetch, wait_for_depth
from tests.serving.reloading import retrained
from tests.serving.sessions import HeldSession

LATENTS = {"z": Normal(20)}


def wide() -> bytes:
    """A model of matrices so large that an inference shares them out among threads."""
    return tiny_onnx.build("wide", LATENTS, Image(28, 28, 1), [512, 512])


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("make", [tiny_onnx.convolutional, wide])
def test_a_cold_session_gives_what_a_warm_one_gives(make: Callable[[], bytes], threads: int) -> None:
    """D-04: the first run of a session, of one or two threads, and its run after a hundred others have the same bytes."""
    data = make()
    seeds = list(range(64))
    reference = model_from_bytes(data, "cpu").sample(seeds).tobytes()
    session = open_session(data, "cpu", threads)
    cold = session.run(None, draw(LATENTS, seeds))[0]
    for size in range(1, 101):
        session.run(None, draw(LATENTS, range(size)))
    assert cold.tobytes() == session.run(None, draw(LATENTS, seeds))[0].tobytes() == reference


@pytest.fixture(scope="module")
def first_answers(root: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[bytes]]:
    """A model, and what a server of one worker and one thread answers first."""
    path = tmp_path_factory.mktemp("convolutional") / "m.onnx"
    path.write_bytes(tiny_onnx.convolutional())
    with running(root, models=path) as server:
        return path, [server.get(f"/generate?{query}")[2] for query in ("seed=42", "seed=42&n=64")]


@pytest.mark.process
@pytest.mark.parametrize(
    "settings", [{"idle_threads": 2}, {"workers": 2}, {"intra_op_threads": 2}, {"fast_path": "off"}], ids=str
)
def test_a_server_started_anew_gives_the_same(
    root: Path, first_answers: tuple[Path, list[bytes]], settings: dict[str, Any]
) -> None:
    """D-04: after a restart, with two threads (always, or on idle cores), two workers or no fast path: the same bytes."""
    path, expected = first_answers
    with running(root, models=path, **settings) as server:
        for _ in range(5):
            assert [server.get(f"/generate?{query}")[2] for query in ("seed=42", "seed=42&n=64")] == expected
            server.get("/generate?n=33")


@pytest.mark.parametrize(("max_batch", "sizes"), [(64, [1, 8]), (3, [1, 3, 3, 2]), (1, [1] * 9)])
def test_queued_requests_are_run_in_exactly_the_batches_that_were_set(
    make_service: Callable[..., Service], models: dict[str, Model], max_batch: int, sizes: list[int]
) -> None:
    """D-05: eight requests behind a running one are as few runs as fit, in order, each row fed and given to its own request."""
    model = models["conditional"]
    session = HeldSession(model.session)
    service = make_service({"conditional": replace(model, session=session)}, max_batch=max_batch)
    wanted = [(100 + i, {"y": i}) for i in range(9)]

    def ask(service: Service, seed: int, y: int) -> bytes:
        return fetch(service, f"seed={seed}&y={y}").body

    with ThreadPoolExecutor(9) as pool:
        answers = []
        for depth, (seed, overrides) in enumerate(wanted):
            answers.append(pool.submit(ask, service, seed, overrides["y"]))
            assert session.begun.wait(30)
            wait_for_depth(service.metrics, depth)
        session.let.set()
        bodies = [answer.result(30) for answer in answers]
    assert [len(fed["y"]) for fed in session.fed] == sizes
    fed = [digest_latents(fed, row) for fed in session.fed for row in range(len(fed["y"]))]
    assert fed == [digest_latents(draw(model.card.latents, [seed], [overrides]), 0) for seed, overrides in wanted]
    assert bodies == [ask(make_service(), seed, overrides["y"]) for seed, overrides in wanted]


def test_after_another_model_came_no_old_image_is_confirmed(make_service: Callable[..., Service]) -> None:
    """D-09: an entity tag from before a model of the same name was replaced brings the new model's picture and digest."""
    old, new = (model_from_bytes(data, "cpu") for data in (tiny_onnx.grey(), retrained()))
    before = fetch(make_service({"grey": old}), "seed=42")
    kept = RequestHeaders(if_none_match=dict(before.headers)["ETag"])
    after = fetch(make_service({"grey": new}), "seed=42", kept)
    assert (after.status, dict(after.headers)["X-Model-Digest"]) == (200, new.digest)
    assert after.body != before.body
    assert after.body == fetch(make_service({"grey": new}), "seed=42").body
    assert fetch(make_service({"grey": old}), "seed=42", kept).status == 304


@pytest.mark.slow
def test_seeds_whose_tags_begin_alike_are_told_apart(make_service: Callable[..., Service]) -> None:
    """D-09: of six thousand seeds, those that share the first 20 bits of their tags never confirm each other's picture."""
    service = make_service()
    by_beginning: dict[str, list[tuple[int, str]]] = {}
    for seed in range(6000):
        tag = dict(fetch(service, f"model=grey&seed={seed}", RequestHeaders(is_head=True)).headers)["ETag"]
        by_beginning.setdefault(tag[1:6], []).append((seed, tag))
    alike = [pair[:2] for pair in by_beginning.values() if len(pair) > 1]
    assert alike
    for (one, _), (_, other_tag) in alike:
        assert fetch(service, f"model=grey&seed={one}", RequestHeaders(if_none_match=other_tag)).status == 200
