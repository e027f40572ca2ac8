"""The real TorchServe as a process of its own, started by the project's command, and a client that talks to it."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest

from deploy.torchserve.contents import HERE
from tests.harness.processes import TIMEOUT, free_ports, wait_for
from tests.harness.service import Answer, ask

psutil: Any = pytest.importorskip("psutil", reason="torchserve is not installed (the extra torchserve)")

START_SECONDS = 180
PORTS = ("8080", "8081", "8082", "7070", "7071")
"""Inference, management, metrics, gRPC inference, gRPC management."""


@dataclass
class TorchServe:
    """A running TorchServe."""

    process: subprocess.Popen[str]
    folder: Path
    ports: dict[str, int]
    """By the port of config.properties, the one that is used here."""

    def key(self, which: str = "inference") -> str:
        """The key of the inference API, or of the management API."""
        return str(json.loads((self.folder / "key_file.json").read_text())[which]["key"])

    def send(
        self, path: str, body: bytes = b"", headers: Mapping[str, str] | None = None, method: str = "POST", port: str = "8080"
    ) -> Answer:
        """One request on a connection of its own, exactly as it is written."""
        return ask(self.ports[port], path, method, headers, body)

    def ask(self, model: str, query: str, accept: str | None = None) -> Answer:
        """A sample, as docs/TORCHSERVE.md says to ask for one."""
        headers = {"Authorization": f"Bearer {self.key()}", "Content-Type": "text/plain"} | (
            {"Accept": accept} if accept else {}
        )
        return self.send(f"/predictions/{model}", query.encode("latin-1"), headers)

    def check(self, model: str) -> None:
        """See that a worker of a model answers.

        Raises:
            OSError: there is none yet.
        """
        status = self.ask(model, "seed=0").status
        if status != 200:
            raise OSError(f"{model}: status {status}")

    def announce(self, model: str, length: int) -> int:
        """The status of a body of that many bytes, answered before any of it is sent."""
        connection = HTTPConnection("127.0.0.1", self.ports["8080"], timeout=60)
        try:
            connection.putrequest("POST", f"/predictions/{model}")
            for name, value in {
                "Authorization": f"Bearer {self.key()}",
                "Content-Type": "text/plain",
                "Content-Length": str(length),
            }.items():
                connection.putheader(name, value)
            connection.endheaders()
            return connection.getresponse().status
        finally:
            connection.close()

    def processes(self) -> list[Any]:
        """The command and all that it has started."""
        top = psutil.Process(self.process.pid)
        return [top, *top.children(recursive=True)]

    def listeners(self) -> dict[int, str]:
        """By port, the address that a process of it listens on."""
        connections = [one for process in self.processes() for one in process.net_connections("tcp")]
        return {one.laddr.port: one.laddr.ip for one in connections if one.status == psutil.CONN_LISTEN}


@contextmanager
def running(files: list[Path], models: list[str], work: Path, root: Path) -> Iterator[TorchServe]:
    """TorchServe with every model ready, on ports of its own and with one worker a model; ended by SIGTERM."""
    ports = dict(zip(PORTS, free_ports(len(PORTS)), strict=True))
    text = (HERE / "config.properties").read_text()
    config = work / "config.properties"
    config.write_text(re.sub("|".join(PORTS), lambda m: str(ports[m[0]]), text) + "default_workers_per_model=1\n")
    command = [
        sys.executable,
        "-m",
        "deploy.torchserve",
        "serve",
        *map(str, files),
        "--folder",
        str(work / "run"),
        "--config",
        str(config),
    ]
    with (work / "log").open("w+") as log:
        process = subprocess.Popen(command, cwd=root, env=environment(), stdout=log, stderr=log, text=True)
        server = TorchServe(process, work / "run", ports)
        started = []
        try:
            for model in models:
                # The key file may be missing or half written at first.
                wait_for(lambda: server.check(model), process, seconds=START_SECONDS, errors=(OSError, ValueError))  # noqa: B023
            started = server.processes()
            yield server
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(60)
            finally:
                process.kill()
                log.seek(0)
                print(log.read())
        _, alive = psutil.wait_procs(started, TIMEOUT)
        assert (process.returncode, alive) == (0, [])
        assert not (work / "run" / "key_file.json").exists()


def environment() -> dict[str, Any]:
    """This process's environment with what must reach neither TorchServe nor a worker: with that token none would start."""
    wrong = {"TS_INFERENCE_ADDRESS": "http://0.0.0.0:8080", "TS_ALLOWED_URLS": ".*", "PYTHONPATH": "/nowhere"}
    return os.environ | wrong | {"GAN_ADMIN_TOKEN": "too short"}
