"""docs/ADOPT.md: its commands are run as they stand, and answer what it says."""

from __future__ import annotations

import re
import subprocess
import sys
import warnings
from importlib import util
from pathlib import Path
from types import ModuleType

import pytest
import torch

from tests.harness.service import environment, running
from training.adopt.command import Adopt


def blocks(page: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", page, re.MULTILINE | re.DOTALL)


def load(path: Path) -> ModuleType:
    spec = util.spec_from_file_location("my_generator", path)
    assert spec is not None
    assert spec.loader is not None
    module = util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.slow
@pytest.mark.process
def test_the_commands_of_the_page_work(root: Path, tmp_path: Path) -> None:
    """Both adoptions, the service, curl and verify, with the answers of the page."""
    page = (root / "docs/ADOPT.md").read_text()
    (tmp_path / "my_generator.py").write_text(blocks(page, "python")[0])
    net = load(tmp_path / "my_generator.py").make()
    torch.save(net.state_dict(), tmp_path / "g.pt")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(net.eval(), (torch.zeros(1, 100, 1, 1),), tmp_path / "theirs.onnx", dynamo=True, verbose=False)
    adopt, serve, ask, adopt_graph = blocks(page, "sh")
    adopted, verified = blocks(page, "text")

    def shell(command: str) -> str:
        command = command.replace(".venv/bin/python", sys.executable)
        environ = {**environment(), "PYTHONPATH": str(root)}
        done = subprocess.run(["bash", "-ec", command], cwd=tmp_path, env=environ, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def pattern(answer: str) -> str:
        return re.escape(answer.strip()).replace(r"\.\.\.", ".*")

    assert re.search(pattern(adopted), shell(adopt))
    assert serve == "GAN_MODELS=models .venv/bin/python -m serving\n"
    with running(root, models=tmp_path / "models") as server:
        assert re.search(pattern(verified), shell(ask.replace("localhost:8000", f"127.0.0.1:{server.port}")))
    shell(adopt_graph)
    assert (tmp_path / "models/theirs.onnx").exists()


def test_every_option_is_on_the_page(root: Path) -> None:
    """As `--name`."""
    page = (root / "docs/ADOPT.md").read_text()
    options = [name for name in Adopt.__dataclass_fields__ if name != "source"]
    assert [name for name in options if f"--{name}" not in page] == []
