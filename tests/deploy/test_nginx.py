"""The nginx server block fits the service's settings, and works in the real nginx."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection
from pathlib import Path

import pytest

from serving.encoding.pictures import MAX_BODY_BYTES
from serving.oip.requests import MAX_REQUEST_BYTES
from serving.settings import Settings
from tests.harness.processes import free_port, wait_for, wait_until
from tests.harness.service import Answer, Server, ask, running, wait_for_workers
from tests.repository.files import ROOT
from tests.serving import tiny_onnx

TEXT = (ROOT / "deploy/nginx/gan.conf").read_text()
NGINX = shutil.which("nginx", path="/usr/sbin:/usr/bin:/usr/local/sbin:/usr/local/bin")
TOKEN = "x" * 16


def directive(name: str) -> str:
    """The value of a directive that stands once in the file."""
    (value,) = re.findall(rf"^\s*{name} ([^;]+);", TEXT, re.MULTILINE)
    return str(value)


def test_times_fit_the_service() -> None:
    """The service's own deadline comes first; nginx closes an idle connection before the service does."""
    settings = Settings()
    assert int(directive("proxy_read_timeout").removesuffix("s")) > settings.deadline_seconds
    assert int(directive("keepalive_timeout").removesuffix("s")) < settings.keep_alive_seconds
    assert TEXT.count(f"    server {settings.host}:{settings.port} max_fails=0;") == 3


def test_every_body_that_the_service_takes_comes_through() -> None:
    """nginx refuses larger ones itself, with a page of its own instead of a problem."""
    assert int(directive("client_max_body_size").removesuffix("m")) * 2**20 == max(MAX_BODY_BYTES, MAX_REQUEST_BYTES)


def test_a_client_cannot_choose_its_address() -> None:
    """nginx is the first proxy: it replaces the header instead of adding to it."""
    assert directive("proxy_set_header X-Forwarded-For") == "$remote_addr"


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A service that trusts nginx, with a token so that /admin/reload exists."""
    folder = tmp_path_factory.mktemp("nginx-models")
    (folder / "tiny.onnx").write_bytes(tiny_onnx.grey())
    with running(ROOT, models=folder, trusted_proxies="127.0.0.1", client_rate=0.001, max_batch=1, admin_token=TOKEN) as server:
        yield server


@pytest.fixture(scope="module")
def proxy(service: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """The port of the real nginx with the server block in front of the service."""
    with nginx(service, tmp_path_factory.mktemp("nginx")) as port:
        yield port


@contextmanager
def nginx(service: Server, folder: Path) -> Iterator[int]:
    """Run nginx with the server block in front of a service; its port."""
    if NGINX is None:
        pytest.skip("nginx is not installed (Debian: nginx)")
    port = free_port()
    block = TEXT.replace("127.0.0.1:8000", f"127.0.0.1:{service.port}").replace("listen 80;", f"listen 127.0.0.1:{port};")
    places = "".join(f"{kind}_temp_path {folder}/{kind};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
    (folder / "nginx.conf").write_text(
        f"daemon off; pid {folder}/pid; error_log {folder}/error.log;events {{}} http {{ access_log off; {places}\n{block}\n}}"
    )
    process = subprocess.Popen([NGINX, "-c", folder / "nginx.conf", "-e", folder / "error.log"])
    try:
        wait_for(lambda: ask(port, "/healthz"), process)
        yield port
    finally:
        process.terminate()
        process.wait(30)


def get(port: int, path: str, source: str, **headers: str) -> Answer:
    """Ask from an address of this machine; the path goes out as it is written."""
    connection = HTTPConnection("127.0.0.1", port, timeout=60, source_address=(source, 0))
    try:
        connection.request("GET", path, headers=headers)
        response = connection.getresponse()
        return Answer(response.status, dict(response.getheaders()), response.read())
    finally:
        connection.close()


@pytest.mark.process
@pytest.mark.slow
def test_the_same_bytes_come_through_with_the_prefix_and_without(service: Server, proxy: int) -> None:
    """A sample, the page and a problem; the prefix is removed on the way."""
    sample = get(proxy, "/generate?seed=42", "127.0.0.11")
    assert (sample.status, sample.body[:4]) == (200, b"\x89PNG")
    assert get(proxy, "/gan/generate?seed=42", "127.0.0.12").body == sample.body == service.get("/generate?seed=42").body
    assert get(proxy, "/", "127.0.0.11").status == 200
    assert json.loads(get(proxy, "/gan/generate?seed=x", "127.0.0.11").body)["status"] == 400


SHUT = [
    "/metrics",
    "/admin/reload",
    "/gan/metrics",
    "/gan/admin/reload",
    "/gan//metrics",
    "/%6detrics",
    "/x/../metrics",
    "//metrics",
]


@pytest.mark.process
@pytest.mark.slow
@pytest.mark.parametrize("path", SHUT)
def test_metrics_and_admin_are_shut(service: Server, proxy: int, path: str) -> None:
    """Written in any way, with the token too: nginx answers, not the service."""
    answer = get(proxy, path, "127.0.0.13", Authorization=f"Bearer {TOKEN}")
    assert (answer.status, answer.headers["Content-Type"]) == (404, "text/html")
    assert service.get("/metrics").status == 200


@pytest.mark.process
@pytest.mark.slow
def test_each_client_has_its_own_rate(proxy: int) -> None:
    """A client that has used up its share is refused for any address it claims; another one is not."""
    statuses = [
        get(proxy, f"/generate?seed={seed}&n=64", "127.0.0.14", **{"X-Forwarded-For": f"10.0.0.{seed}"}).status
        for seed in range(9)
    ]
    assert statuses[0] == 200
    assert statuses[-1] == 429
    assert get(proxy, "/generate?seed=100", "127.0.0.15").status == 200


@pytest.mark.process
@pytest.mark.slow
def test_a_killed_worker_costs_no_request(tmp_path: Path) -> None:
    """F-04: while one of two workers is killed again and again, six clients on kept connections get every response."""
    (tmp_path / "tiny.onnx").write_bytes(tiny_onnx.grey())
    inputs = [{"name": "seed", "datatype": "INT64", "shape": [1], "data": [42]}]
    body = json.dumps({"inputs": inputs}).encode()
    over, statuses = threading.Event(), [set[int]() for _ in range(6)]

    def ask_on(port: int, found: set[int]) -> None:
        connection, seed = HTTPConnection("127.0.0.1", port, timeout=60), 0
        while not over.is_set():
            seed += 1
            if seed % 8:
                connection.request("GET", f"/generate?seed={seed}")
            else:
                connection.request("POST", "/v2/models/grey/infer", body, {"Content-Type": "application/json"})
            response = connection.getresponse()
            response.read()
            found.add(response.status)
        connection.close()

    with running(ROOT, models=tmp_path, workers=2, cache_bytes=0) as service, nginx(service, tmp_path) as port:
        clients = [threading.Thread(target=ask_on, args=(port, found)) for found in statuses]
        for client in clients:
            client.start()
        for _ in range(5):
            wait_for_workers(service.process, service.port, 2)
            threading.Event().wait(0.3)
            killed = service.workers()[0]
            os.kill(killed, signal.SIGKILL)
            # Not by the number of listeners: its successor may listen before they are counted.
            wait_until(lambda killed=killed: not Path(f"/proc/{killed}").exists(), "it is gone")  # type: ignore[misc]
        wait_for_workers(service.process, service.port, 2)
        over.set()
        for client in clients:
            client.join(60)
    assert statuses == 6 * [{200}]
