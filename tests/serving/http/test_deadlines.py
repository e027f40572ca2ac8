"""The deadline of a POST runs from the end of its body."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from serving.encoding.png import write_png
from serving.errors import DeadlineExceeded
from serving.generation.generate import RequestHeaders
from serving.generation.transform import transform
from serving.http.asgi import ASGIApp
from serving.model.load import Model
from serving.observability.request_context import RequestContext
from tests.serving import tiny_onnx
from tests.serving.client import Answer, ask_on_the_loop, measured, service_of
from tests.serving.reloading import make_app
from tests.serving.sessions import HeldSession

PICTURE = write_png(np.zeros((8, 8, 1), np.uint8), {})
SEEDS = json.dumps({"inputs": [{"name": "seed", "datatype": "INT64", "shape": [1], "data": [1]}]}).encode()


@pytest.fixture
def app(tmp_path: Path) -> ASGIApp:
    """An application of one model that needs a picture and one that takes none, with one thread for Flask."""
    (tmp_path / "0.onnx").write_bytes(tiny_onnx.transforming("needing"))
    (tmp_path / "1.onnx").write_bytes(tiny_onnx.grey())
    return make_app(tmp_path, threads=1)


@pytest.mark.slow
def test_it_does_not_begin_anew_after_the_picture_is_decoded(app: ASGIApp) -> None:
    """O-05: a picture is decoded shortly before the deadline; its answer is not waited for longer than until then."""
    service = service_of(app)
    seconds, model = service.settings.deadline_seconds, service.registry["needing"].model
    assert isinstance(model, Model)
    session = HeldSession(model.session)
    service.registry.put(service.registry.make_entry(replace(model, session=session, digest="f" * 64)))
    context = RequestContext("POST", "/transform", start=time.perf_counter() - seconds + 3)

    async def play() -> None:
        async with asyncio.timeout(seconds / 2):  # ends a wait that began anew, by another error
            await transform(service, "seed=1", RequestHeaders(context=context), PICTURE)

    with pytest.raises(DeadlineExceeded):
        service.portal.run(play())
    session.let.set()
    assert len(session.fed) == 1


def test_a_wait_for_a_thread_counts(app: ASGIApp) -> None:
    """O-05: a POST that gets Flask's only thread after its deadline is 504, and nothing is run for it."""
    service = service_of(app)
    started, leave = threading.Event(), threading.Event()

    def decode() -> None:
        started.set()
        leave.wait()

    service.decoding.threads.submit(decode)
    started.wait()

    async def play() -> list[Answer]:
        def post(path: str, body: bytes, **headers: str) -> asyncio.Task[Answer]:
            return asyncio.create_task(ask_on_the_loop(app, "", "POST", path, headers, body))

        tasks = [post("/transform", PICTURE)]  # it has the thread until its picture is decoded
        await asyncio.sleep(0.01)
        late = {"X-Request-Timeout-Ms": "50"}
        tasks += [post("/v2/models/grey/infer", SEEDS, **late), post("/transform", PICTURE, **late)]
        await asyncio.sleep(0.1)
        leave.set()
        return await asyncio.gather(*tasks)

    answers = service.portal.run(play())
    assert [answer.status for answer in answers] == [200, 504, 504]
    assert {json.loads(answer.body)["code"] for answer in answers[1:]} == {"deadline_exceeded"}
    assert measured(service, "gan_rejected_total", reason="deadline_exceeded") == 2
