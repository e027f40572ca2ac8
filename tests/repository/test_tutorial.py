"""docs/TUTORIAL.md: its commands run in order on drawn pictures, and print what it says."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.harness.processes import free_port, wait_for
from tests.repository.documented import agrees, blocks
from tests.repository.files import ROOT
from tests.repository.test_documented import Checkout, check_file, link_environment
from training.recipes import CATALOGUE

PAGE = ROOT / "docs/TUTORIAL.md"
SHORTER = {
    "make train": " STEPS=2 BATCH=8",
    ".venv/bin/python -m benchmarks.shapes draw": " --count 120",
    ".venv/bin/python -m benchmarks.shapes recall": " --samples 50 --pictures 180",
    ".venv/bin/python -m training score": " --samples 200",
}
"""Beginnings of commands, and what makes them short."""
ANSWERS = {"2000 pictures": "120 pictures"}
"""What the shorter commands print instead."""


def test_every_recipe_of_the_page_exists() -> None:
    """Those that its table compares."""
    named = re.findall(r"^\| `(\w+)` \|", PAGE.read_text(), re.MULTILINE)
    assert len(named) == 3
    assert [name for name in named if name not in CATALOGUE] == []


@pytest.mark.process
@pytest.mark.slow
def test_the_commands_lead_from_pictures_to_a_link(tmp_path: Path) -> None:
    """Each command ends with 0, each answer is the printed one, and each picture is one."""
    if not all(map(shutil.which, ("make", "curl", "bash"))) or not (ROOT / ".venv/bin/python").exists():
        pytest.skip("needs make, curl, bash and `make setup`")
    for path in ROOT.iterdir():
        if not path.name.startswith(".") and path.name != "runs":
            (tmp_path / path.name).symlink_to(path)
    link_environment(tmp_path)
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "GAN_", "MFLAGS", "PYTEST"))}
    environ = kept | {"GAN_PORT": str(free_port()), "PYTHONPATH": str(tmp_path), "XDG_CACHE_HOME": os.environ["TEST_CACHE"]}
    checkout = Checkout(tmp_path, environ, tmp_path / "log")
    commands, served = list(all_commands()), 0
    while commands:
        command, answer = commands.pop(0)
        if "make serve" not in command:
            run(checkout, command, answer)
            continue
        served += 1
        with serving(checkout, command):
            while commands and "make serve" not in commands[0][0]:
                run(checkout, *commands.pop(0))
    assert served == 2


def all_commands() -> Iterator[tuple[str, str | None]]:
    """Every command of the page, the last one of a block with the block's answer."""
    for block in blocks(PAGE.read_text()):
        if block.language == "sh":
            *first, last = block.commands
            yield from ((command, None) for command in first)
            yield last, block.answer


def run(checkout: Checkout, command: str, answer: str | None) -> None:
    more = next((words for beginning, words in SHORTER.items() if command.startswith(beginning)), "")
    typed = (command + more).replace(":8000", f":{checkout.environ['GAN_PORT']}")
    words = ["bash", "-euo", "pipefail", "-c", typed]
    done = subprocess.run(words, cwd=checkout.folder, env=checkout.environ, text=True, capture_output=True, timeout=600)
    assert done.returncode == 0, f"{typed}\n{done.stdout}{done.stderr}"
    for name in re.findall(r"curl .*-o (\S+)", command):
        check_file(checkout.folder / name)
    if answer is not None:
        for long, short in ANSWERS.items():
            answer = answer.replace(long, short)
        assert agrees(done.stdout, answer), f"{typed}\nprinted {done.stdout}"


@contextmanager
def serving(checkout: Checkout, command: str) -> Iterator[None]:
    """The service that a command starts, until it is ready."""
    with checkout.log.open("w") as log:
        words = ["bash", "-c", f"exec env {command}"]
        process = subprocess.Popen(words, cwd=checkout.folder, env=checkout.environ, stdout=log, stderr=log, process_group=0)
    try:
        address = f"http://127.0.0.1:{checkout.environ['GAN_PORT']}/readyz"
        wait_for(
            lambda: urllib.request.urlopen(address, timeout=5).close(), process, seconds=120, output=checkout.log.read_text
        )
        yield
    finally:
        os.killpg(process.pid, signal.SIGINT)
        process.wait(60)
