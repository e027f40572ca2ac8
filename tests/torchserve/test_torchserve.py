"""The real TorchServe answers with the service's bytes, and lets clients ask for samples only."""

from __future__ import annotations

import io
import ipaddress
import json
import socket
import stat
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from deploy.torchserve.launch import why_not
from serving.app import create_app
from serving.encoding.png_reader import read_png
from serving.http.asgi import ASGIApp
from serving.settings import Settings
from tests.serving.client import Answer as ServiceAnswer
from tests.serving.client import ask
from tests.serving.corpus import CASES, Case
from tests.torchserve.conftest import ADOPTED, MAKERS, run
from tests.torchserve.server import PORTS, TorchServe, running

pytestmark = [
    pytest.mark.process,
    pytest.mark.slow,
    pytest.mark.skipif(why_not() is not None, reason=str(why_not())),
]


@pytest.fixture(scope="module")
def torchserve(root: Path, archives: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TorchServe]:
    """One server for all tests of this file, with a model of each kind."""
    models = sorted((*MAKERS, *ADOPTED))
    with running([archives / f"{name}.onnx" for name in models], models, tmp_path_factory.mktemp("torchserve"), root) as server:
        yield server


@pytest.fixture(scope="module")
def service(archives: Path) -> ASGIApp:
    """The Flask service with the same model files."""
    models = tuple(str(archives / f"{name}.onnx") for name in (*MAKERS, *ADOPTED))
    return create_app(replace(Settings(), models=models, provider="cpu"), log=lambda event, **facts: None)


def by_service(service: ASGIApp, model: str, query: str, accept: str | None = None) -> ServiceAnswer:
    """What the service answers at the address of the model's digest, where the address names the model as TorchServe's does."""
    digest = json.loads(ask(service, path=f"/models/{model}").body)["digest"]
    return ask(service, query, path=f"/models/{digest}/generate", headers={"Accept": accept} if accept else None)


# ------------------------------------------------------------------------------------------------------------------ the promise

QUERIES = [
    *[(model, "seed=42") for model in sorted((*MAKERS, *ADOPTED))],
    *[(model, f"seed=42&n=5&format={name}") for model in sorted(MAKERS) for name in ("npy", "json")],
    ("conditional", "seed=42&y=3&c0=.5&scale=3"),
    ("conditional", "seed=4294967295&format=webp"),
    ("colour", "seed=42&n=16&cols=8"),
    ("colour", "seed=42&n=3&format=tar"),
    ("points2", "seed=42&n=100&format=png"),
    ("conditional", "seed=0&n=4096&format=npy"),
    ("colour", "seed=0&n=4096&format=tar"),
]


@pytest.mark.parametrize(("model", "query"), QUERIES)
def test_a_seed_gives_the_bytes_of_the_service(torchserve: TorchServe, service: ASGIApp, model: str, query: str) -> None:
    """S-16: every kind of output, every kind of parameter: the same file, and the same headers that say what it is."""
    expected, answer = by_service(service, model, query), torchserve.ask(model, query)
    assert (answer.status, expected.status) == (200, 200)
    assert answer.body == expected.body
    for name in ("Content-Type", "ETag", "X-Seed", "X-Model-Digest", "Vary", "X-Content-Type-Options"):
        assert answer.headers[name.lower()] == expected.headers[name]


@pytest.mark.parametrize("model", sorted(MAKERS))
def test_thirty_two_at_once_get_what_they_would_get_alone(torchserve: TorchServe, service: ASGIApp, model: str) -> None:
    """TorchServe may put valid and invalid requests into one batch; each gets its own answer."""
    queries = [f"seed={seed}" for seed in range(42, 72)] + ["seed=042", "seed=1&n=2"]
    together = threading.Barrier(len(queries))

    def one(query: str) -> tuple[int, bytes]:
        together.wait(30)
        status, _, body = torchserve.ask(model, query)
        return status, body

    with ThreadPoolExecutor(len(queries)) as pool:
        answers = list(pool.map(one, queries))
    assert answers == [(found.status, found.body) for found in (by_service(service, model, query) for query in queries)]


def test_the_pixels_are_the_model_s_own(torchserve: TorchServe, service: ASGIApp) -> None:
    """The PNG holds, pixel for pixel, what ``format=npy`` says."""
    png = read_png(torchserve.ask("colour", "seed=42").body)
    npy = by_service(service, "colour", "seed=42&format=npy").body
    assert np.array_equal(png.pixels(), np.load(io.BytesIO(npy))[0])


WRONG = [case for case in CASES if case.status >= 400 and not case.query.startswith("model=") and len(case.accept or "") < 4096]


@pytest.mark.parametrize("case", WRONG, ids=lambda case: case.name)
def test_a_wrong_request_gives_the_problem_of_the_service(torchserve: TorchServe, service: ASGIApp, case: Case) -> None:
    """Status, media type and the whole problem, code and words."""
    expected = by_service(service, "conditional", case.query, case.accept)
    answer = torchserve.ask("conditional", case.query, case.accept)
    assert (answer.status, answer.body) == (expected.status, expected.body)
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.status == case.status


def test_the_digest_is_the_version(torchserve: TorchServe, service: ASGIApp) -> None:
    """A model can be asked for by its digest, and by no other version."""
    digest = torchserve.ask("colour", "seed=42").headers["x-model-digest"]
    assert torchserve.ask(f"colour/{digest}", "seed=42").body == by_service(service, "colour", "seed=42").body
    assert torchserve.ask("colour/1.0", "seed=42").status == 404


FORMS = {
    "form": (b"seed=1", "application/x-www-form-urlencoded", 415, "unsupported_media_type"),
    "form field body": (b"body=seed%3D1", "application/x-www-form-urlencoded", 415, "unsupported_media_type"),
    "JSON": (b'{"seed": 1}', "application/json", 415, "unsupported_media_type"),
    "JSON text": (b'"seed=1"', "application/json", 415, "unsupported_media_type"),
    "bytes": (b"seed=1", "application/octet-stream", 415, "unsupported_media_type"),
    "nothing": (b"", "text/plain", 400, "bad_query"),
    "no UTF-8": (b"seed=\xff", "text/plain", 400, "bad_query"),
}


@pytest.mark.parametrize("form", FORMS)
def test_a_body_that_could_be_misread_is_refused(torchserve: TorchServe, form: str) -> None:
    """TorchServe takes forms apart and drops what is given twice, so a query string is taken as plain text only."""
    body, media_type, status, code = FORMS[form]
    headers = {"Authorization": f"Bearer {torchserve.key()}", "Content-Type": media_type}
    answer = torchserve.send("/predictions/conditional?seed=1", body, headers)
    assert (answer.status, json.loads(answer.body)["code"]) == (status, code)


def test_a_seed_in_the_address_is_a_problem(torchserve: TorchServe) -> None:
    """A handler never sees the address; the answer says that the seed belongs into the body."""
    headers = {"Authorization": f"Bearer {torchserve.key()}"}
    for path in ("/predictions/conditional?seed=42", "/models/conditional/invoke?seed=42"):
        answer = torchserve.send(path, headers=headers, method="GET")
        assert (answer.status, json.loads(answer.body)["code"]) == (400, "bad_query")


# ------------------------------------------------------------------------------------------------------- what is shut: S-17


def test_all_five_ports_are_loopback_and_there_is_no_sixth(torchserve: TorchServe) -> None:
    """The kernel's own list of what the server's processes listen on."""
    listeners = torchserve.listeners()
    assert sorted(listeners) == sorted(torchserve.ports[port] for port in PORTS)
    addresses = [ipaddress.ip_address(address) for address in listeners.values()]
    assert all((getattr(address, "ipv4_mapped", None) or address).is_loopback for address in addresses)


@pytest.mark.parametrize("port", PORTS)
def test_a_port_does_not_answer_on_another_address(torchserve: TorchServe, port: str) -> None:
    """A connection to another address of this machine, such as 127.0.0.2, is refused."""
    with socket.socket() as client:
        assert client.connect_ex(("127.0.0.2", torchserve.ports[port])) != 0


@pytest.mark.parametrize("token", [None, "", "Bearer", "Bearer wrong", "Basic wrong", "management"])
@pytest.mark.parametrize("path", ["/predictions/conditional", "/models/conditional/invoke", "/conditional/predict", "/ping"])
def test_a_sample_needs_the_inference_key(torchserve: TorchServe, token: str | None, path: str) -> None:
    """No key, a wrong key, or the management key: TorchServe answers 400 on each route to the model."""
    token = f"Bearer {torchserve.key('management')}" if token == "management" else token
    answer = torchserve.send(
        path, b"seed=42", {"Content-Type": "text/plain"} | ({} if token is None else {"Authorization": token})
    )
    assert answer.status == 400
    assert b"InvalidKeyException" in answer.body


@pytest.mark.parametrize("token", ["none", "inference"])
def test_managing_needs_the_management_key(torchserve: TorchServe, token: str) -> None:
    """The inference key lists nothing and changes nothing."""
    headers = {} if token == "none" else {"Authorization": f"Bearer {torchserve.key()}"}
    assert torchserve.send("/models", headers=headers, method="GET", port="8081").status == 400


@pytest.mark.parametrize("kind", ["models", "workflows"])
def test_even_the_manager_can_load_nothing(torchserve: TorchServe, kind: str) -> None:
    """A model or a workflow from an address or a file is refused, and no connection is ever opened to the address."""
    headers = {"Authorization": f"Bearer {torchserve.key('management')}"}
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(0.5)
        port = listener.getsockname()[1]
        for url in (f"http://127.0.0.1:{port}/x.mar", "file:///etc/passwd", "..%2Fstore%2Fconditional.mar", "conditional.mar"):
            assert torchserve.send(f"/{kind}?url={url}", headers=headers, port="8081").status in (404, 405)
        with pytest.raises(TimeoutError):
            listener.accept()


def test_even_the_manager_can_remove_nothing(torchserve: TorchServe) -> None:
    """The model API is off."""
    headers = {"Authorization": f"Bearer {torchserve.key('management')}"}
    assert torchserve.send("/models/conditional", headers=headers, method="DELETE", port="8081").status == 405
    assert torchserve.ask("conditional", "seed=1").status == 200


INFERENCE, MANAGEMENT = (
    f"/org.pytorch.serve.grpc.{part}APIsService/" for part in ("inference.Inference", "management.Management")
)
CALLS = {
    "Ping": ("7070", f"{INFERENCE}Ping", b""),
    "Predictions": ("7070", f"{INFERENCE}Predictions", b"\x0a\x0bconditional"),
    "ListModels": ("7071", f"{MANAGEMENT}ListModels", b""),
    "UnregisterModel": ("7071", f"{MANAGEMENT}UnregisterModel", b"\x0a\x0bconditional"),
}
"""By name, port, method and request, a message with the field model_name where it has one."""


@pytest.mark.parametrize("token", [None, "Bearer wrong"])
@pytest.mark.parametrize("call", CALLS)
def test_grpc_wants_the_keys_too(torchserve: TorchServe, call: str, token: str | None) -> None:
    """Neither samples nor the list of models without them."""
    assert by_grpc(torchserve, call, token) == "PERMISSION_DENIED"


def test_the_manager_can_remove_nothing_by_grpc(torchserve: TorchServe) -> None:
    """The model API is off there, too; with the right keys other calls are answered."""
    manager = f"Bearer {torchserve.key('management')}"
    assert by_grpc(torchserve, "UnregisterModel", manager) == "PERMISSION_DENIED"
    assert by_grpc(torchserve, "ListModels", manager) == "OK"
    assert by_grpc(torchserve, "Ping", f"Bearer {torchserve.key()}") == "OK"


def by_grpc(torchserve: TorchServe, call: str, token: str | None) -> str:
    """The status of a call, its message given as the bytes that it is on the wire."""
    grpc = pytest.importorskip("grpc")
    port, method, message = CALLS[call]
    with grpc.insecure_channel(f"127.0.0.1:{torchserve.ports[port]}") as channel:
        try:
            channel.unary_unary(method)(message, timeout=30, metadata=[("authorization", token)] if token else None)
        except grpc.RpcError as error:
            return str(error.code().name)
    return "OK"


def test_keys_are_for_their_owner_alone(torchserve: TorchServe) -> None:
    """The file that holds them, and the folder around it."""
    assert stat.S_IMODE((torchserve.folder / "key_file.json").stat().st_mode) == 0o600
    assert stat.S_IMODE(torchserve.folder.stat().st_mode) == 0o700


def test_a_port_that_is_taken_ends_the_command(root: Path, torchserve: TorchServe, archives: Path, tmp_path: Path) -> None:
    """With exit code 1 and Java's reason above the last line; the server that has the port stays."""
    config = torchserve.folder.parent / "config.properties"
    said = run(root, "serve", archives / "colour.onnx", "--folder", tmp_path, "--config", config, code=1)
    assert "Address already in use" in said
    assert said.splitlines()[-1] == "torchserve: TorchServe ended by itself; the lines above say why"
    assert torchserve.ask("conditional", "seed=1").status == 200


def test_a_refused_model_is_not_served(root: Path, archives: Path, tmp_path: Path) -> None:
    """Nothing starts and no folder is made for a model that the service would refuse."""
    (tmp_path / "bad.onnx").write_bytes((archives / "colour.onnx").read_bytes()[:-100])
    (line,) = run(root, "serve", tmp_path / "bad.onnx", "--folder", tmp_path / "run", code=1).splitlines()
    assert line.startswith(f"torchserve: {tmp_path / 'bad.onnx'}: ")
    assert not (tmp_path / "run").exists()


def test_two_models_of_one_name_are_not_served(root: Path, archives: Path, tmp_path: Path) -> None:
    """The archive of the second would replace that of the first, in silence."""
    (tmp_path / "same.onnx").write_bytes((archives / "colour.onnx").read_bytes())
    line = run(root, "serve", archives / "colour.onnx", tmp_path / "same.onnx", "--folder", tmp_path / "run", code=1)
    assert line == f"torchserve: {tmp_path}/same.onnx: another model has the name 'colour'\n"
    assert not (tmp_path / "run").exists()


def test_a_folder_that_cannot_be_made_is_one_line(root: Path, archives: Path, tmp_path: Path) -> None:
    """Here a file in its place."""
    (tmp_path / "file").touch()
    line = run(root, "serve", archives / "colour.onnx", "--folder", tmp_path / "file", code=1)
    assert line == f"torchserve: {tmp_path}/file: File exists\n"


def test_prometheus_can_read_the_metrics(torchserve: TorchServe) -> None:
    """Requests by model, in Prometheus's own text."""
    torchserve.ask("conditional", "seed=1")
    answer = torchserve.send("/metrics", method="GET", port="8082")
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    assert b'ts_inference_requests_total{model_name="conditional"' in answer.body


def test_a_large_body_is_refused_unread(torchserve: TorchServe) -> None:
    """Far above the longest query string: what its head announces is enough, and nothing of it need be sent."""
    assert torchserve.announce("conditional", 70_000) == 413
