"""Limits of inferences: the pixels of an answer, and what waits to be encoded."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from serving.app import create_app
from serving.errors import QueueFull
from serving.generation.generate import SMALL_ROWS_BYTES, RequestHeaders, Service
from serving.generation.service import MAX_ENCODING_BYTES
from serving.model.load import Model
from serving.oip.requests import Inference
from serving.oip.routes import infer
from serving.settings import Settings
from tests.serving.oip.test_protocol import SEEDS, post


@pytest.mark.slow
def test_an_answer_of_too_many_pixels_is_refused(settings: Settings) -> None:
    """``GAN_MAX_PIXELS`` holds for inferences as for samples."""
    app = create_app(replace(settings, max_pixels=2 * 28 * 28), log=lambda event, **facts: None)
    answer = post(app, {"inputs": [SEEDS]}, "grey")
    assert (answer.status, b"at most 1568 pixels, not 2352" in answer.body) == (400, True)
    assert post(app, {"inputs": [{**SEEDS, "shape": [2], "data": [1, 2]}]}, "grey").status == 200


def test_large_answers_wait_in_the_encoding_queue(make_service: Callable[..., Service], models: dict[str, Model]) -> None:
    """An answer that finds the queue full is refused, and a small one is encoded at once."""
    service = make_service({"grey": models["grey"]})
    service.encoding._size = MAX_ENCODING_BYTES
    many = range(1 + SMALL_ROWS_BYTES // models["grey"].sample([1]).nbytes)
    with pytest.raises(QueueFull):
        service.portal.run(infer(service, service.registry["grey"], Inference(sources=many), RequestHeaders()))
    assert service.portal.run(infer(service, service.registry["grey"], Inference(sources=[1]), RequestHeaders()))
