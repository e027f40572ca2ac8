"""A real Prometheus on loopback that scrapes every second, with the committed configuration and rules scaled to seconds."""

from __future__ import annotations

import json
import math
import signal
import subprocess
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from tests.deploy.rules import FOLDER, write_scaled
from tests.harness.processes import wait_for

Targets = Mapping[str, Sequence[int]]
"""Ports of this machine by the job's name."""


class Prometheus:
    """A running one."""

    def __init__(self, process: subprocess.Popen[bytes], port: int, home: Path) -> None:
        self._process, self._port, self._home = process, port, home

    def query(self, expr: str) -> list[dict[str, Any]]:
        """The samples of an instant query.

        Raises:
            urllib.error.HTTPError: the query is wrong.
        """
        address = f"http://127.0.0.1:{self._port}/api/v1/query?{urllib.parse.urlencode({'query': expr})}"
        with urllib.request.urlopen(address, timeout=30) as answer:
            found: list[dict[str, Any]] = json.load(answer)["data"]["result"]
            return found

    def is_finite(self, expr: str) -> bool:
        """Whether there are samples, and all of them are numbers."""
        values = [float(sample["value"][1]) for sample in self.query(expr)]
        return bool(values) and all(map(math.isfinite, values))

    def firing(self) -> set[str]:
        """The names of the alerts that fire."""
        return {sample["metric"]["alertname"] for sample in self.query('ALERTS{alertstate="firing"}')}

    def scrape(self, targets: Targets) -> None:
        """Look at these from now on, and at no others."""
        _configure(self._home, targets)
        self._process.send_signal(signal.SIGHUP)


@contextmanager
def prometheus(home: Path, port: int, targets: Targets, factor: int) -> Iterator[Prometheus]:
    """Prometheus in a folder of its own, ended at the end."""
    write_scaled(home, factor)
    _configure(home, targets)
    command = [
        "prometheus",
        f"--config.file={home}/prometheus.yml",
        f"--storage.tsdb.path={home}/data",
        f"--web.listen-address=127.0.0.1:{port}",
        "--log.level=warn",
    ]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        running = Prometheus(process, port, home)
        wait_for(lambda: running.query("vector(1)"), process)
        yield running
    finally:
        process.terminate()
        process.wait(30)


def _configure(home: Path, targets: Targets) -> None:
    """The committed configuration with ports of this machine in the place of names, each second."""
    config = yaml.safe_load((FOLDER / "prometheus.yml").read_text())
    config["global"] = {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"}
    for job in config["scrape_configs"]:
        del job["dns_sd_configs"]
        job["static_configs"] = [{"targets": [f"127.0.0.1:{port}" for port in targets.get(job["job_name"], ())]}]
    (home / "prometheus.yml").write_text(yaml.safe_dump(config))
