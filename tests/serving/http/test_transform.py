"""``POST /transform``: a picture in, the changed picture out, the same bytes for the same picture and seed."""

from __future__ import annotations

import asyncio
import io
import json
import threading
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from flask import Flask
from PIL import Image

from contract import Normal, draw
from serving.app import create_app
from serving.errors import VerifyError
from serving.http.asgi import ASGIApp
from serving.model.load import Model
from serving.settings import Settings
from serving.verify import verify
from tests.serving import tiny_onnx
from tests.serving.client import Answer, ask, ask_on_the_loop, service_of

PNG = {"Content-Type": "image/png"}
MAKERS = {
    "0-grey": tiny_onnx.grey(),
    "1-needing": tiny_onnx.transforming("needing"),
    "2-taking": tiny_onnx.transforming("taking", channels=3, is_optional=True),
}


def picture(number: int = 1, **options: int) -> bytes:
    """A PNG of 8x8 grey noise."""
    pixels = np.random.default_rng(number).integers(0, 256, (8, 8), np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG", **options)
    return file.getvalue()


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """A folder with a model that needs a picture, one that takes one, and one that takes none."""
    folder = tmp_path_factory.mktemp("transforming")
    for name, data in MAKERS.items():
        (folder / f"{name}.onnx").write_bytes(data)
    return Settings(models=(str(folder),), provider="cpu")


@pytest.fixture(scope="module")
def app(settings: Settings) -> ASGIApp:
    """The application with these models."""
    return create_app(settings, log=lambda event, **facts: None)


@pytest.fixture(scope="module")
def flask_only(settings: Settings) -> Flask:
    """The same without the fast path."""
    return create_app(replace(settings, fast_path=False), log=lambda event, **facts: None).flask


def post(app: ASGIApp | Flask, query: str, body: bytes, headers: Mapping[str, str] = PNG) -> Answer:
    return ask(app, query, "POST", "/transform", headers, body)


def problem(answer: Answer) -> tuple[int, str]:
    found = json.loads(answer.body)
    return answer.status, f"{found['code']}: {found['detail']}"


def test_a_picture_is_changed(app: ASGIApp) -> None:
    """The sample is the model's for this picture and seed; the first model that takes a picture is the default one."""
    sent = picture()
    answer = post(app, "seed=7&y=3&format=npy", sent)
    assert (answer.status, answer.headers["X-Seed"]) == (200, "7")
    model = service_of(app).registry["needing"].model
    assert answer.headers["X-Model-Digest"] == model.digest
    pixels = np.asarray(Image.open(io.BytesIO(sent)))[None, ..., None]
    assert isinstance(model, Model)
    inputs = {"z": _z(7), "y": np.array([3]), "picture": pixels}
    assert np.array_equal(np.load(io.BytesIO(answer.body)), model.session.run(None, inputs)[0])


def _z(seed: int) -> np.ndarray:
    return draw({"z": Normal(20)}, [seed])["z"]


def test_both_applications_answer_alike(app: ASGIApp, flask_only: Flask) -> None:
    """The body read on the event loop and the body read in Flask's thread give the same response."""
    for query in ("seed=7", "seed=7&model=taking&format=json", "seed=x", "model=grey"):
        assert post(app, query, picture()) == post(flask_only, query, picture())


def test_the_same_picture_has_the_same_bytes(app: ASGIApp) -> None:
    """Another compression and another size of the same picture are the same picture; another seed or picture is not."""
    small = Image.open(io.BytesIO(picture()))
    large = io.BytesIO()
    small.resize((64, 64), Image.Resampling.NEAREST).save(large, "PNG")
    first = post(app, "seed=7", picture(compress_level=0))
    assert first == post(app, "seed=7", picture(compress_level=9)) == post(app, "seed=7", large.getvalue())
    others = [post(app, "seed=8", picture()), post(app, "seed=7", picture(2)), post(app, "seed=7&y=1", picture())]
    assert len({answer.headers["ETag"] for answer in [first, *others]}) == 4
    assert len({answer.body for answer in [first, *others]}) == 4


@pytest.mark.slow
def test_a_picture_alone_and_in_a_batch_has_the_same_bytes(app: ASGIApp, settings: Settings) -> None:
    """Requests with different pictures, and samples of seeds alone, share a batch without any effect on their bytes."""
    service = service_of(app)
    other = create_app(replace(settings, cache_bytes=0), log=lambda event, **facts: None)  # no body is shared

    async def all_at_once() -> list[Answer]:
        asked = [
            ask_on_the_loop(app, f"seed={number}&model=taking", "POST", "/transform", PNG, picture(number))
            for number in range(20)
        ]
        asked += [ask_on_the_loop(app, f"seed={number}&model=taking", "GET", "/generate", {}, b"") for number in range(20)]
        return await asyncio.gather(*asked)

    together = service.portal.run(all_at_once())
    alone = [post(other, f"seed={number}&model=taking", picture(number)) for number in range(20)]
    alone += [ask(other, f"seed={number}&model=taking") for number in range(20)]
    assert together == alone
    assert len({answer.body for answer in alone}) == 40


def test_pictures_are_decoded_one_after_the_other(settings: Settings) -> None:
    """O-08: while one is decoded, others wait as bytes, no longer than their deadlines; then they are decoded, too."""
    app = create_app(settings, log=lambda event, **facts: None)
    started, leave = threading.Event(), threading.Event()

    def decode() -> None:
        started.set()
        leave.wait()

    held = service_of(app).decoding.threads.submit(decode)
    started.wait()
    late = post(app, "seed=7", picture(), {**PNG, "X-Request-Timeout-Ms": "50"})
    assert problem(late) == (504, "deadline_exceeded: no answer within 0.05 s")
    leave.set()
    held.result()
    assert post(app, "seed=7", picture()).status == 200


def test_several_seeds_are_one_sheet(app: ASGIApp) -> None:
    """``n`` changes the picture by several seeds; each tile is the single sample."""
    sheet = np.asarray(Image.open(io.BytesIO(post(app, "seed=7&n=4", picture()).body)))
    assert sheet.shape == (16, 16)
    assert np.array_equal(sheet[:8, 8:], np.asarray(Image.open(io.BytesIO(post(app, "seed=8", picture()).body))))


def test_no_answer_is_kept_by_caches(app: ASGIApp) -> None:
    """The answer has an entity tag, and is ``no-store``: it depends on the request's body. ``If-None-Match`` has no effect."""
    answer = post(app, "seed=7", picture())
    assert answer.headers["Cache-Control"] == "no-store"
    again = post(app, "seed=7", picture(), {**PNG, "If-None-Match": answer.headers["ETag"]})
    assert (again.status, again.body) == (200, answer.body)


def test_without_a_seed_there_is_a_random_one(app: ASGIApp) -> None:
    """The seed is sent in ``X-Seed`` and gives the same bytes when it is named."""
    answer = post(app, "", picture())
    assert post(app, f"seed={answer.headers['X-Seed']}", picture()).body == answer.body


def test_the_origin_has_the_hash_of_the_picture(app: ASGIApp, settings: Settings) -> None:
    """JSON and the PNG's text hold it; ``verify`` says that the picture is needed again."""
    answer = post(app, "seed=7&format=json", picture())
    origin = json.loads(answer.body)
    assert (origin["seed"], origin["n"], len(origin["picture"])) == (7, 1, 64)
    assert "picture" not in json.loads(ask(app, "seed=7&model=taking&format=json").body)
    (folder,) = settings.models
    with pytest.raises(VerifyError, match="made from a picture, which it does not hold"):
        verify(post(app, "seed=7", picture()).body, sorted(Path(folder).glob("*.onnx")), settings)


@pytest.mark.parametrize(
    ("path", "query"),
    [("/generate", "seed=1"), ("/walk", "from=1&to=2"), ("/mix", "a=1&b=2"), ("/arithmetic", "a=1&b=2&c=3")],
)
def test_routes_without_a_picture_name_the_route_with_one(app: ASGIApp, path: str, query: str) -> None:
    """A model that needs a picture refuses every other route by name; one that may have none answers them."""
    status, detail = problem(ask(app, f"{query}&model=needing", path=path))
    assert (status, detail) == (
        400,
        "picture_required: needing changes a picture: send a PNG as the body of POST /transform?model=needing",
    )
    assert ask(app, f"{query}&model=taking", path=path).status == 200


def test_a_digest_address_and_the_protocol_refuse_it_too(app: ASGIApp) -> None:
    """``/models/<digest>/generate`` and ``/v2`` inferences say where the picture goes."""
    digest = service_of(app).registry["needing"].model.digest
    assert problem(ask(app, "seed=1", path=f"/models/{digest}/generate"))[0] == 400
    body = b'{"inputs": [{"name": "seed", "shape": [1], "datatype": "INT64", "data": [1]}]}'
    answer = ask(app, "", "POST", "/v2/models/needing/infer", {"Content-Type": "application/json"}, body)
    assert answer.status == 400
    assert "POST /transform" in json.loads(answer.body)["error"]


REFUSED: dict[str, tuple[str, bytes, Mapping[str, str], int, str]] = {
    "no picture": ("", b"", PNG, 400, "bad_picture: the body must be a PNG"),
    "not a PNG": ("", b"GIF89a" + b"0" * 50, PNG, 400, "bad_picture: the body must be a PNG"),
    "half a PNG": ("", picture()[:50], PNG, 400, "bad_picture: the PNG is damaged: truncated"),
    "another type": ("", picture(), {"Content-Type": "image/jpeg"}, 415, "Content-Type must be image/png, got 'image/jpeg'"),
    "a form": ("", picture(), {"Content-Type": "multipart/form-data; boundary=x"}, 415, "Content-Type must be image/png"),
    "compressed": ("", picture(), {**PNG, "Content-Encoding": "gzip"}, 415, "Content-Encoding must be absent, got 'gzip'"),
    "too many bytes": ("", picture() + b"0" * 10**6, PNG, 413, "content_too_large: the body must have at most"),
    "too many bytes for this model": ("model=needing", picture() + b"0" * 200_000, PNG, 413, "must have at most 196608 bytes"),
    "unknown parameter": ("z0=1", picture(), PNG, 400, "unknown_parameter: no parameter 'z0'"),
    "bad seed": ("seed=-1", picture(), PNG, 400, "bad_parameter: seed must be 0..4294967295, got '-1'"),
    "bad value": ("y=10", picture(), PNG, 400, "bad_parameter: y must be an integer 0..9, got '10'"),
    "another model": (
        "model=grey",
        picture(),
        PNG,
        400,
        "no_picture_taken: grey changes no picture; models that do: needing, taking; GET /generate makes its samples",
    ),
    "no model": ("model=x", picture(), PNG, 400, "bad_parameter: model must be one of grey, needing, taking, got 'x'"),
    "no format": ("", picture(), {**PNG, "Accept": "text/html"}, 406, "not_acceptable"),
}


@pytest.mark.parametrize(("query", "body", "headers", "status", "message"), REFUSED.values(), ids=list(REFUSED))
def test_a_wrong_request_is_refused(
    app: ASGIApp, query: str, body: bytes, headers: Mapping[str, str], status: int, message: str
) -> None:
    """Every wrong request is a 4xx problem that says what is right."""
    answer = post(app, query, body, headers)
    assert answer.headers["Content-Type"] == "application/problem+json"
    found, detail = problem(answer)
    assert found == status
    assert message in detail


def test_a_body_that_ends_early_is_refused(app: ASGIApp) -> None:
    """Fewer bytes than ``Content-Length`` says are named as such."""
    sent = picture()
    headers = {**PNG, "Content-Length": str(len(sent))}
    answer = service_of(app).portal.run(ask_on_the_loop(app, "", "POST", "/transform", headers, sent[:-5]))
    assert answer.status == 400


def test_get_is_not_allowed(app: ASGIApp) -> None:
    """The route answers POST and OPTIONS alone."""
    answer = ask(app, "seed=1", path="/transform")
    assert (answer.status, answer.headers["Allow"]) == (405, "OPTIONS, POST")


def test_the_document_shows_each_route_the_models_that_suit_it(app: ASGIApp) -> None:
    """``model`` of ``/transform`` and of ``/generate`` lists other models; the body is a PNG."""
    paths = json.loads(ask(app, path="/openapi.json").body)["paths"]
    operation = paths["/transform"]["post"]
    assert list(operation["requestBody"]["content"]) == ["image/png"]
    names = {p["name"]: p["schema"] for p in operation["parameters"]}
    assert names["model"] == {"enum": ["needing", "taking"], "default": "needing"}
    assert names["y"]["maximum"] == 9
    generate = {p["name"]: p["schema"] for p in paths["/generate"]["get"]["parameters"]}
    assert generate["model"]["enum"] == ["grey", "taking"]
    assert not any("needing" in operation["operationId"] for item in paths.values() for operation in item.values())
