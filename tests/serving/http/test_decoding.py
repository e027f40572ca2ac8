"""Decoding pictures for ``/transform`` takes no more than a client's share, and no more than some of the threads."""

from __future__ import annotations

import asyncio
import json
import threading
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from serving.encoding.png import write_png
from serving.errors import QueueFull, RateLimited
from serving.generation.generate import Reply, RequestHeaders, Service
from serving.generation.transform import transform
from serving.settings import WAITING_PICTURES
from tests.harness.processes import TIMEOUT
from tests.harness.service import running
from tests.serving import tiny_onnx
from tests.serving.client import Answer, ask_on_the_loop, measured, service_of
from tests.serving.reloading import make_app

PICTURE = write_png(np.zeros((8, 8, 1), np.uint8), {})
DAMAGED = PICTURE[:-20] + bytes(20)
PNG = {"Content-Type": "image/png"}
CLIENT = RequestHeaders(client="10.0.0.1")


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """The file of a model that needs a picture of 8x8 grey."""
    path = tmp_path / "0.onnx"
    path.write_bytes(tiny_onnx.transforming("needing"))
    return path


def ask(service: Service, query: str, body: bytes = PICTURE) -> Reply:
    return service.portal.run(transform(service, query, CLIENT, body))


@pytest.mark.process
@pytest.mark.parametrize("body", [PICTURE, DAMAGED], ids=["kept", "damaged"])
def test_a_client_cannot_have_more_pictures_decoded_than_its_share(root: Path, model: Path, body: bytes) -> None:
    """O-04: an answer from the cache costs a token, as its picture was decoded for it, and so does a damaged picture."""
    length = f"Content-Length: {len(body)}\r\n".encode()
    request = b"POST /transform?seed=1 HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: image/png\r\n" + length
    with running(root, models=model, client_rate=0.01) as server:
        answers = [server.send(request + b"\r\n" + body) for _ in range(5)]
    assert [answer[9:12] for answer in answers] == [b"200" if body is PICTURE else b"400", *4 * [b"429"]]


def test_the_picture_is_one_token_of_the_answer(model: Path) -> None:
    """O-04: the first answer of n samples costs n, the same one from the cache costs one."""
    service = service_of(make_app(model, client_rate=1000))
    spent = []

    def acquire(client: str | None, rows: int, charged: int = 0) -> None:
        spent.append(rows - charged)

    service.token_bucket.acquire = acquire  # type: ignore[method-assign]
    assert [ask(service, "seed=1&n=4").cache for _ in range(2)] == ["miss", "hit"]
    assert spent == [1, 3, 1]


def test_an_admitted_request_is_answered(model: Path) -> None:
    """O-04: the picture's token may be the client's last one; the next request is refused."""
    service = service_of(make_app(model, client_rate=0.5))
    assert ask(service, "seed=1&n=8").status == 200
    with pytest.raises(RateLimited):
        ask(service, "seed=2")


def test_what_the_queues_refuse_is_not_charged(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither a picture for which the decoder has no room, nor one whose samples would find none, costs its client a token."""
    service = service_of(make_app(model, client_rate=1.0))
    with monkeypatch.context() as patch:
        patch.setattr(service.decoding, "_size", WAITING_PICTURES)
        with pytest.raises(QueueFull, match="more than 64 pictures wait to be decoded"):
            ask(service, "seed=1")
    monkeypatch.setattr(service.registry["needing"].batcher.backend, "room", lambda: -service.settings.queue_limit)
    with pytest.raises(QueueFull, match="images are waiting"):
        ask(service, "seed=1")
    assert len(service.token_bucket) == 0


@pytest.mark.slow
def test_threads_are_left_while_pictures_wait(model: Path) -> None:
    """O-08: with as many pictures at the decoder as it may hold, others are 503 at once, and Flask's routes are answered."""
    app = make_app(model)
    service = service_of(app)
    leave = threading.Event()
    held = service.decoding.threads.submit(leave.wait)

    async def play() -> tuple[Counter[int], Answer, Counter[int]]:
        posts = [
            asyncio.create_task(ask_on_the_loop(app, f"seed={number}", "POST", "/transform", PNG, PICTURE))
            for number in range(WAITING_PICTURES + 100)
        ]
        async with asyncio.timeout(TIMEOUT):
            while len(refused := [post.result() for post in posts if post.done()]) < 100:
                await asyncio.sleep(0.01)
        models = await ask_on_the_loop(app, "", "GET", "/models", {}, b"")
        leave.set()
        assert {json.loads(answer.body)["code"] for answer in refused} == {"queue_full"}
        everything = await asyncio.gather(*posts)
        return Counter(answer.status for answer in refused), models, Counter(answer.status for answer in everything)

    refused, models, everything = service.portal.run(play())
    assert held.result()
    assert (refused, models.status) == (Counter({503: 100}), 200)
    assert everything == Counter({200: WAITING_PICTURES, 503: 100})
    assert measured(service, "gan_rejected_total", reason="queue_full") == 100
