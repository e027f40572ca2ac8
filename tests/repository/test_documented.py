"""Every command and every answer printed in README.md and docs/SERVICE.md, executed and compared."""

from __future__ import annotations

import io
import json
import os
import re
import shutil
import signal
import subprocess
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from tests.harness.processes import free_port, wait_for
from tests.repository.documented import Block, agrees, blocks
from tests.repository.files import ROOT
from tests.training.conftest import fit_classifier

PAGES = ("README.md", "docs/SERVICE.md")
TOKEN = "a-token-of-the-tests"
NOT_RUN = {
    "docker compose": "no docker here; tests/deploy/test_compose.py compares the file with the code",
    "curl -s -o out.png -H 'Content-Type: image/png'": "the default model takes no picture; see test_transform.py",
}
"""Beginnings of commands that no test can run, each with the reason."""
NO_ANSWER = ("promql", "python", "", "yaml", "json")
"""Blocks that are no commands; each kind has a test of its own below, `promql` in tests/deploy."""


@pytest.mark.parametrize("page", PAGES)
def test_every_block_is_executed_or_compared(page: str) -> None:
    """No block is of a kind that no test looks at."""
    assert {block.language for block in blocks((ROOT / page).read_text())} <= {"sh", *NO_ANSWER}


def test_answers_are_compared_to_the_letter() -> None:
    """White space does not count, `...` stands for anything, and another number or another word is another answer."""
    assert agrees('{"a": 1,\n "b": "x"}\n', '{"a":1, "b": "..."}')
    assert not agrees('{"a": 2, "b": "x"}', '{"a":1, "b": "..."}')
    assert not agrees("one\nmore", "one")


def test_a_comment_is_no_part_of_a_command() -> None:
    """Its apostrophe opens no quote; a quote that is open and a backslash join lines."""
    block = Block("sh", "one     # a reader's\ntwo 'a\n b' \\\n c\nthree\n")
    assert block.commands == ["one", "two 'a\n b' \\\n c", "three"]


@dataclass(frozen=True)
class Checkout:
    """A checkout with a trained model and a running service."""

    folder: Path
    environ: dict[str, str]
    log: Path

    def run(self, command: str) -> str:
        """Run a command as a person types it, but for ports and for the length of a training; the standard output."""
        command = command.replace(":8000", f":{self.environ['GAN_PORT']}").replace("--metrics-port 9108", "--metrics-port 0")
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", shortened(command)],
            cwd=self.folder,
            env=self.environ,
            text=True,
            capture_output=True,
            timeout=600,
        )
        assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
        return done.stdout


def shortened(command: str) -> str:
    """A command that trains, for two steps; one that scores, on 200 samples of its own data; any other as it is."""
    if "training resume" in command:
        return re.sub(r"--steps \d+", "--steps 3 --checkpoints 1", command)
    if "training train" in command:
        return f"{command} --steps 2 --batch 8 --checkpoints 1"
    if "make train" in command:
        small = " SIZE=16" if "dcgan64" in command else ""  # its export at 64x64 is 75 MB and takes minutes
        return f"{command} STEPS=2 BATCH=8{small}"
    own = " --data mnist5k --samples 200"  # else a classifier is fitted to all of MNIST, where it is, for three minutes
    return f"{command}{own}" if "training score" in command else command


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Checkout]:
    """Links to the checkout, an environment that make takes as set up, pictures, and `make serve` on a model of two steps."""
    if not all(map(shutil.which, ("make", "curl", "bash"))) or not (ROOT / ".venv/bin/python").exists():
        pytest.skip("needs make, curl, bash and `make setup`")
    folder = tmp_path_factory.mktemp("checkout")
    for path in ROOT.iterdir():
        if not path.name.startswith(".") and path.name != "runs":
            (folder / path.name).symlink_to(path)
    link_environment(folder)
    draw_pictures(folder / "pictures")
    port = free_port()
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "GAN_", "MFLAGS", "PYTEST"))}
    environ = kept | {"GAN_PORT": str(port), "GAN_ADMIN_TOKEN": TOKEN, "PYTHONPATH": str(folder)}
    environ["XDG_CACHE_HOME"] = os.environ["TEST_CACHE"]
    fit_classifier("mnist5k", folder)
    made = Checkout(folder, environ, folder / "log")
    made.run("make train STEPS=2")
    with made.log.open("w") as log:
        process = subprocess.Popen(["make", "serve"], cwd=folder, env=environ, stdout=log, stderr=log, process_group=0)
    try:
        address = f"http://127.0.0.1:{port}/readyz"
        wait_for(lambda: urllib.request.urlopen(address, timeout=5).close(), process, seconds=120, output=made.log.read_text)
        yield made
    finally:
        os.killpg(process.pid, signal.SIGINT)
        process.wait(60)


def link_environment(folder: Path) -> None:
    """Give the folder the checkout's `.venv`, with a stamp that says to make that everything is installed."""
    (folder / ".venv").mkdir()
    for path in (ROOT / ".venv").iterdir():
        (folder / ".venv" / path.name).symlink_to(path)
    subprocess.run(["make", "--touch", "setup"], cwd=folder, check=True, capture_output=True)


def draw_pictures(folder: Path) -> None:
    """A batch of small pictures of noise, the reader's own images."""
    folder.mkdir()
    for number in range(130):
        noise = np.random.default_rng(number).integers(0, 256, (32, 32, 3), np.uint8)
        Image.fromarray(noise).save(folder / f"{number}.png")


@pytest.mark.process
@pytest.mark.slow
@pytest.mark.xdist_group("documented")
@pytest.mark.parametrize("page", PAGES)
def test_commands_print_what_the_page_says(page: str, checkout: Checkout) -> None:
    """Each command ends with 0, each answer is the printed one, and each file that curl writes is of its suffix's kind."""
    for block in blocks((ROOT / page).read_text()):
        if block.language == "sh":
            check(block, checkout)


def check(block: Block, checkout: Checkout) -> None:
    """Run a block's commands and compare what they print and write."""
    printed = ""
    for command in block.commands:
        if command == "make serve" or command.startswith(tuple(NOT_RUN)):  # the checkout runs make serve
            continue
        output = checkout.run(command)
        printed += output
        for name in re.findall(r"curl .*-o (\S+)", command):
            check_file(checkout.folder / name)
    if block.answer is not None:
        assert agrees(printed, block.answer), f"{block.text}\nprinted {printed}"


def check_file(path: Path) -> None:
    """A file holds what its suffix says."""
    content = path.read_bytes()
    match path.suffix:
        case ".npy":
            assert np.load(io.BytesIO(content)).size
        case ".json":
            assert json.loads(content)
        case ".png" | ".webp":
            with Image.open(io.BytesIO(content)) as image:
                assert image.format == path.suffix[1:].upper()
        case _:
            raise AssertionError(f"no check for {path.name}")


@pytest.mark.process
@pytest.mark.slow
@pytest.mark.xdist_group("documented")
def test_a_request_is_logged_as_the_page_says(checkout: Checkout) -> None:
    """The documented line is in the service's log, field by field."""
    (line,) = [block.text for block in blocks((ROOT / "docs/SERVICE.md").read_text()) if block.language == "json"]
    checkout.run("curl -s -o 42.png 'localhost:8000/generate?seed=42&y=3'")
    wait_for(lambda: find(checkout.log, line), errors=(LookupError,), output=checkout.log.read_text)


def find(log: Path, line: str) -> str:
    """The first line of a log that agrees with the documented one, whether its answer was cached or not."""
    for logged in log.read_text().splitlines():
        if agrees(logged.replace('"hit"', '"miss"'), line):
            return logged
    raise LookupError(line)


@pytest.mark.process
@pytest.mark.slow
@pytest.mark.xdist_group("documented")
def test_the_triton_client_gets_the_image_of_the_page(checkout: Checkout) -> None:
    """The documented lines run against the service."""
    pytest.importorskip("tritonclient.http", reason="tritonclient is not installed: tests/serving/oip speak its protocol")
    (lines,) = [block.text for block in blocks((ROOT / "docs/SERVICE.md").read_text()) if block.language == "python"]
    lines = lines.replace(":8000", f":{checkout.environ['GAN_PORT']}")
    subprocess.run([str(ROOT / ".venv/bin/python"), "-c", lines], check=True)


@pytest.mark.process
def test_the_scrape_configuration_is_one(tmp_path: Path) -> None:
    """Prometheus' own checker takes the README's lines."""
    if not shutil.which("promtool"):
        pytest.skip("needs promtool (Debian: prometheus)")
    (text,) = [block.text for block in blocks((ROOT / "README.md").read_text()) if block.language == "yaml"]
    assert yaml.safe_load(text)["scrape_configs"][0]["static_configs"] == [{"targets": ["localhost:8000"]}]
    (tmp_path / "prometheus.yml").write_text(text)
    subprocess.run(["promtool", "check", "config", str(tmp_path / "prometheus.yml")], check=True, capture_output=True)


def test_the_signature_is_what_the_signer_writes() -> None:
    """The documented file has the lines of a signature, in order."""
    (text,) = [block.text for block in blocks((ROOT / "docs/SERVICE.md").read_text()) if block.language == ""]
    assert [line.split(":")[0] for line in text.splitlines()] == ["gan-serve model 1", "name", "serial", "sha256", "signature"]
