"""The Open Inference Protocol: what a client of Triton or KServe sends and gets."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from flask import Flask

from contract import draw
from serving.errors import BadInference, DeadlineExceeded, QueueFull
from serving.generation.generate import RequestHeaders, Service
from serving.http.asgi import ASGIApp
from serving.latents.sources import GivenLatents
from serving.model.load import Model
from serving.oip.requests import Inference, body_limit, read_inference
from serving.oip.routes import infer
from tests.serving.client import Answer, ask, service_of

SEEDS: dict[str, Any] = {"name": "seed", "shape": [3], "datatype": "INT64", "data": [0, 42, 4294967295]}


def post(app: ASGIApp | Flask, request: Any, model: str = "conditional", **headers: str) -> Answer:
    """One inference; what is no bytes is sent as JSON."""
    body = request if isinstance(request, bytes) else json.dumps(request).encode()
    sent = {"Content-Type": "application/json", **{name.replace("_", "-"): value for name, value in headers.items()}}
    return ask(app, "", "POST", f"/v2/models/{model}/infer", {k: v for k, v in sent.items() if v}, body)


def rows_of(answer: Answer) -> Any:
    """The one tensor of an answer."""
    assert answer.status == 200, answer.body
    (tensor,) = json.loads(answer.body)["outputs"]
    kinds = {"UINT8": np.uint8, "FP32": np.float32, "INT64": np.int64}
    return np.array(tensor["data"], kinds[tensor["datatype"]]).reshape(tensor["shape"])


def generated(app: ASGIApp | Flask, query: str) -> Any:
    """The rows of ``/generate``."""
    return np.load(io.BytesIO(ask(app, f"{query}&format=npy").body))


def tensors(drawn: Any) -> list[dict[str, Any]]:
    """Drawn latents as a client sends them."""
    kinds = {"float32": "FP32", "int64": "INT64"}
    return [
        {"name": name, "shape": list(values.shape), "datatype": kinds[str(values.dtype)], "data": values.tolist()}
        for name, values in drawn.items()
    ]


@pytest.mark.parametrize("name", ["conditional", "grey", "colour", "points2", "tokens"])
def test_seeds_give_the_rows_of_generate(app: ASGIApp, flask_only: Flask, models: dict[str, Model], name: str) -> None:
    """Each seed's row is that of ``/generate?format=npy``, as the tensor that the metadata describes."""
    (told,) = json.loads(ask(app, path=f"/v2/models/{name}").body)["outputs"]
    for one in (app, flask_only):
        rows = rows_of(post(one, {"inputs": [SEEDS]}, name))
        for row, seed in zip(rows, SEEDS["data"], strict=True):
            expected = generated(app, f"model={name}&seed={seed}")[0]
            assert (row.dtype, row.tobytes()) == (expected.dtype, expected.tobytes())
        assert [-1, *rows.shape[1:]] == told["shape"]


def test_latents_give_the_rows_of_their_seeds(app: ASGIApp, models: dict[str, Model]) -> None:
    """What seeds draw, sent back as numbers in rows or one after the other, gives the same rows."""
    for name in ("conditional", "points2"):
        sent = tensors(draw(models[name].card.latents, range(5)))
        flat = [{**tensor, "data": np.ravel(tensor["data"]).tolist()} for tensor in sent]
        expected = rows_of(post(app, {"inputs": [{**SEEDS, "shape": [5], "data": list(range(5))}]}, name))
        for inputs in (sent, flat, sent[::-1]):
            assert rows_of(post(app, {"inputs": inputs}, name)).tobytes() == expected.tobytes()


def test_parameters_and_latents_stand_instead_of_what_is_drawn(app: ASGIApp) -> None:
    """``y`` as a parameter is for every row, as a tensor for each; nothing else of a row moves."""
    by_parameter = rows_of(post(app, {"inputs": [SEEDS], "parameters": {"y": 3, "c0": -0.5}}))
    assert by_parameter[1].tobytes() == generated(app, "seed=42&y=3&c0=-.5")[0].tobytes()
    classes = {"name": "y", "shape": [3], "datatype": "INT64", "data": [7, 8, 9]}
    by_tensor = rows_of(post(app, {"inputs": [SEEDS, classes], "parameters": {"c0": -0.5}}))
    for row, seed, y in zip(by_tensor, SEEDS["data"], classes["data"], strict=True):
        assert row.tobytes() == generated(app, f"seed={seed}&y={y}&c0=-.5")[0].tobytes()


def test_the_id_and_the_outputs_are_those_that_were_asked_for(app: ASGIApp) -> None:
    """The client's id comes back; the output may be named, wishes for another writing of it are not heeded."""
    outputs = [{"name": "image", "parameters": {"binary_data": True}}]
    answer = post(app, {"id": "a\u00e4\n", "inputs": [SEEDS], "outputs": outputs, "parameters": {"binary_data_output": True}})
    told = json.loads(answer.body)
    assert (told["id"], told["model_name"], list(told)) == ("a\u00e4\n", "conditional", ["model_name", "id", "outputs"])
    assert answer.body == json.dumps(told, separators=(",", ":")).encode() + b"\n"
    assert answer.body == post(app, {"id": "a\u00e4\n", "inputs": [SEEDS]}, Content_Type="").body
    assert answer.headers["X-Model-Digest"] == service_of(app).registry["conditional"].model.digest


def z(**changes: Any) -> dict[str, Any]:
    return {"name": "z", "shape": [1, 20], "datatype": "FP32", "data": [0.5] * 20, **changes}


def seed(*values: Any, **changes: Any) -> dict[str, Any]:
    return {"inputs": [{"name": "seed", "shape": [len(values)], "datatype": "INT64", "data": list(values), **changes}]}


WRONG: list[tuple[str, Any]] = [
    ("the body must be JSON", b"{"),
    ("the body must be JSON", b""),
    ("the body must be JSON", b"\xff"),
    ("the body must be JSON", b"[" * 60000),
    ("the body must be JSON", b'{"inputs": [' + b"9" * 5000 + b"]}"),
    ("NaN is no number", b'{"inputs": [NaN]}'),
    ("a name stands twice", b'{"inputs": [], "inputs": []}'),
    ("the request must be an object", []),
    ("the request must have inputs", {}),
    ("the request has 'input'; there are inputs, id, parameters, outputs", {"inputs": [SEEDS], "input": 1}),
    *[("id must be a string", {"id": value, "inputs": [SEEDS]}) for value in (7, None)],
    ("inputs must be an array", {"inputs": {}}),
    ("inputs must have seed, or every latent; z, y, c not given", {"inputs": []}),
    ("y, c not given", {"inputs": [z()]}),
    ("inputs[0] must be an object", {"inputs": [1]}),
    ("inputs[0] must have datatype", {"inputs": [{"name": "seed", "shape": [1], "data": [1]}]}),
    ("inputs[0] has 'dtype'", seed(1, dtype="INT64")),
    ("inputs[0].parameters has 'binary_data_size'", seed(1, parameters={"binary_data_size": 8})),
    ("inputs[0].name must be one of seed, z, y, c, got 'Seed'", seed(1, name="Seed")),
    ("inputs[0].name must be one of", seed(1, name=None)),
    ("input seed must have datatype INT64 or UINT32, got 'INT32'", seed(1, datatype="INT32")),
    ("input seed must have shape [n], got '[1, 1]'", seed(1, shape=[1, 1])),
    ("input seed must have shape [n]", seed(1, shape=[1.0])),
    ("input seed must have shape [n]", seed(1, shape=[True])),
    ("input seed must have shape [n]", seed(1, shape=[])),
    ("input seed must have shape [n]", seed(1, shape=None)),
    ("input seed must have 1..256 rows, got '0'", seed()),
    ("input seed must have 1..256 rows, got '257'", seed(*range(257))),
    ("must be 2 numbers for its shape, got 1", seed(1, shape=[2])),
    ("data of input seed must be an array", seed(1, data=1)),
    *[("input seed must be integers 0..4294967295", seed(value)) for value in (-1, 2**32, 1.0, True, "1", None, [1], 10**400)],
    ("input seed must be given once", {"inputs": [SEEDS, SEEDS]}),
    ("inputs must have one number of rows, got 1, 3", {"inputs": [SEEDS, z()]}),
    ("input z must have shape [n, 20]", {"inputs": [z(shape=[20])]}),
    ("must be 1 arrays of 20 numbers", {"inputs": [z(data=[[0.5] * 19])]}),
    ("must be 1 arrays of 20 numbers", {"inputs": [z(data=[[0.5] * 10] * 2)]}),
    *[
        ("input z must be numbers -8..8", {"inputs": [z(data=[value] * 20), *seed(1)["inputs"]]})
        for value in (8.1, -9, "1", True, None, 10**400)
    ],
    ("input z must be numbers -8..8", json.dumps({"inputs": [z(), *seed(1)["inputs"]]}).encode().replace(b"0.5", b"1e999")),
    ("parameters has 'Y'", {"inputs": [SEEDS], "parameters": {"Y": 1}}),
    *[("y must be an integer 0..9", {"inputs": [SEEDS], "parameters": {"y": value}}) for value in (10, -1, 3.0, "3", True)],
    ("c0 must be a number -1..1", {"inputs": [SEEDS], "parameters": {"c0": 1.01}}),
    (
        "parameter y and input y exclude each other",
        {"inputs": [{"name": "y", "shape": [1], "datatype": "INT64", "data": [1]}, *seed(1)["inputs"]], "parameters": {"y": 1}},
    ),
    (
        "input y must be integers 0..9",
        {"inputs": [{"name": "y", "shape": [1], "datatype": "INT64", "data": [10]}, *seed(1)["inputs"]]},
    ),
    ("outputs[0].name must be image, got 'pixels'", {"inputs": [SEEDS], "outputs": [{"name": "pixels"}]}),
    ("outputs must be an array", {"inputs": [SEEDS], "outputs": "image"}),
]


@pytest.mark.parametrize(("message", "request_"), WRONG, ids=[f"{i} {message}" for i, (message, _) in enumerate(WRONG)])
def test_a_wrong_request_is_refused_in_the_protocols_words(app: ASGIApp, message: str, request_: Any) -> None:
    """400, and ``error`` names what is wrong and what would be right."""
    answer = post(app, request_)
    told = json.loads(answer.body)
    assert (answer.status, told["code"], answer.headers["Content-Type"]) == (400, "bad_inference", "application/json")
    assert message in told["error"]


def test_a_value_that_is_nested_too_deep_is_refused(models: dict[str, Model]) -> None:
    """The parser of Python 3.14 reads objects deeper than ``str`` can write; the message shows the outermost ones."""
    body = b'{"inputs": [{"shape": 0, "datatype": 0, "data": 0, "name": ' + 60_000 * b'{"":' + b"1" + 60_000 * b"}" + b"}]}"
    with pytest.raises(BadInference, match=r"must be (JSON|one of seed, z, y, c, got '{'': {'': )"):
        read_inference(body, models["conditional"], 256)


@pytest.mark.parametrize(
    "headers",
    [
        {"Content_Encoding": "gzip"},
        {"Content_Encoding": "identity"},
        {"Content_Type": "text/plain"},
        {"Content_Type": "application/json; charset=latin-1"},
        {"Content_Type": "application/octet-stream"},
        {"Inference_Header_Content_Length": "10"},
    ],
)
def test_only_plain_json_is_read(app: ASGIApp, headers: dict[str, str]) -> None:
    """A compressed body, another type and binary tensors are 415."""
    answer = post(app, {"inputs": [SEEDS]}, **headers)
    assert (answer.status, json.loads(answer.body)["code"]) == (415, "unsupported_media_type")


def test_a_large_body_is_refused_unread(app: ASGIApp, flask_only: Flask, models: dict[str, Model]) -> None:
    """One byte more than any answerable request may have is 413; that many are looked at."""
    limit = body_limit(models["conditional"], 256)
    for one in (app, flask_only):
        assert post(one, b" " * limit).status == 400
        answer = post(one, b" " * (limit + 1))
        assert (answer.status, json.loads(answer.body)["error"]) == (413, f"the body must have at most {limit} bytes")


def test_the_largest_request_fits(app: ASGIApp, models: dict[str, Model]) -> None:
    """All latents of as many rows as may be asked for, in Python's longest writing, are answered."""
    drawn = draw(models["conditional"].card.latents, range(256))
    body = json.dumps({"inputs": tensors(drawn)}, indent=1).encode()
    assert rows_of(post(app, body)).tobytes() == generated(app, "seed=0&n=256").tobytes()


@pytest.mark.parametrize("path", ["/v2", "/v2/health/live", "/v2/health/ready", "/v2/models/grey", "/v2/models/grey/ready"])
def test_health_and_metadata_are_told(app: ASGIApp, path: str) -> None:
    """Every address of the protocol answers 200 in JSON."""
    answer = ask(app, path=path)
    assert (answer.status, answer.headers["Content-Type"]) == (200, "application/json")


def test_a_models_tensors_are_told(app: ASGIApp) -> None:
    """Names, types and shapes as the protocol has them, the number of rows being free."""
    assert json.loads(ask(app, path="/v2/models/conditional").body) == {
        "name": "conditional",
        "platform": "onnxruntime_onnx",
        "inputs": [
            {"name": "seed", "datatype": "INT64", "shape": [-1]},
            {"name": "z", "datatype": "FP32", "shape": [-1, 20]},
            {"name": "y", "datatype": "INT64", "shape": [-1]},
            {"name": "c", "datatype": "FP32", "shape": [-1, 2]},
        ],
        "outputs": [{"name": "image", "datatype": "UINT8", "shape": [-1, 28, 28, 1]}],
    }


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/v2/", 404),
        ("GET", "/v2/models/nothing", 404),
        ("GET", "/v2/models/nothing/ready", 404),
        ("POST", "/v2/models/nothing/infer", 404),
        ("GET", "/v2/models/grey/infer", 405),
        ("POST", "/v2/health/live", 405),
        ("POST", "/v2/models/grey/infer", 400),
    ],
)
def test_every_error_below_v2_is_the_protocols(app: ASGIApp, method: str, path: str, status: int) -> None:
    """Also of routes and methods that there are not."""
    answer = ask(app, "", method, path)
    assert (answer.status, answer.headers["Content-Type"]) == (status, "application/json")
    assert set(json.loads(answer.body)) == {"error", "code"}
    assert ("Allow" in answer.headers) == (status == 405)


def test_a_full_queue_and_a_deadline_are_told_and_counted(
    make_service: Callable[..., Service], models: dict[str, Model]
) -> None:
    """An inference waits in the model's own queue and no longer than it may."""
    service = make_service({"grey": models["grey"]}, max_batch=2, queue_limit=2)
    entry = service.registry["grey"]
    with pytest.raises(DeadlineExceeded):
        service.portal.run(infer(service, entry, Inference(sources=range(200)), RequestHeaders(timeout_ms="1")))
    entry.batcher._single.rows += 100
    with pytest.raises(QueueFull):
        service.portal.run(infer(service, entry, Inference(sources=[1]), RequestHeaders()))
    assert {
        reason: service.metrics.registry.get_sample_value("gan_rejected_total", {"reason": reason})
        for reason in ("deadline_exceeded", "queue_full")
    } == {"deadline_exceeded": 1, "queue_full": 1}


def test_rows_and_seeds_share_a_batch(models: dict[str, Model]) -> None:
    """A row of given latents changes no seed's row in the same batch."""
    model = replace(models["conditional"])
    drawn = draw(model.card.latents, [5, 6])
    row = GivenLatents(0, {name: values[1] for name, values in drawn.items()})
    mixed = model.sample([5, row, 7], [{}, {}, {"y": 3}])
    assert mixed.tobytes() == np.concatenate([model.sample([5]), model.sample([6]), model.sample([7], [{"y": 3}])]).tobytes()
