"""What `make` says and does, without installing or training anything."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.repository.files import ROOT

pytestmark = pytest.mark.process

TEXT = (ROOT / "Makefile").read_text()
TARGETS = re.findall(r"^\.PHONY: (.*)$", TEXT, re.MULTILINE)[0].split()


def make(*arguments: str, cwd: Path = ROOT) -> str:
    """What a make command prints; it must end well."""
    done = subprocess.run(["make", *arguments], cwd=cwd, capture_output=True, text=True, env={"PATH": "/usr/bin:/bin"})
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_help_is_the_default_and_explains_every_target() -> None:
    """`make` alone lists each target with a sentence."""
    text = re.sub(r"\x1b\[[0-9;]*m", "", make())
    explained = dict(re.findall(r"^ +make ([a-z-]+) +(\S.*)$", text, re.MULTILINE))
    assert sorted(explained) == sorted(TARGETS)
    assert make("help") == make()


def test_help_shows_every_variable() -> None:
    """With the value that it has now."""
    text = make("help", "RECIPE=dcgan", "DATA=mnist", "STEPS=7", "PORT=9")
    for name, value in {"RECIPE": "dcgan", "DATA": "mnist", "STEPS": "7", "OUT": "runs/dcgan-mnist", "PORT": "9"}.items():
        assert re.search(rf"^ +{name} +{value} ", text, re.MULTILINE)
    assert "runs/dcgan-mnist/model.onnx" in text


@pytest.mark.parametrize(
    ("variables", "arguments"),
    [
        ([], "'cdcgan_r1' --data 'mnist5k' --out 'runs/cdcgan_r1-mnist5k'"),
        (["RECIPE=dcgan"], "'dcgan' --out 'runs/dcgan'"),
        (
            ["RECIPE=dcgan", "STEPS=5", "BATCH=8", "SIZE=32", "SEED=7"],
            "'dcgan' --steps 5 --batch 8 --size 32 --seed 7 --out 'runs/dcgan'",
        ),
        (["RECIPE=dcgan", "DATA=mnist", "STEPS=5"], "'dcgan' --data 'mnist' --steps 5 --out 'runs/dcgan-mnist'"),
        (["DATA=folder:my/cats"], "'cdcgan_r1' --data 'folder:my/cats' --out 'runs/cdcgan_r1-folder-my-cats'"),
        (["OUT=here"], "'cdcgan_r1' --data 'mnist5k' --out 'here'"),
    ],
    ids=str,
)
def test_train_hands_its_variables_on(variables: list[str], arguments: str) -> None:
    """RECIPE, DATA, STEPS, BATCH, SIZE, SEED and OUT reach the command line; what is not given is left to the recipe."""
    assert f"-m training train {arguments}" in re.sub(r"[ \\\n]+", " ", make("-n", "train", *variables))


def test_training_in_a_container_takes_the_same_variables() -> None:
    """`make docker-train` starts training itself as the container's program, with the arguments of `make train`."""
    variables = ("RECIPE=dcgan", "DATA=mnist", "STEPS=5", "BATCH=8", "SEED=7", "OUT=runs/x")
    (here,) = [line for line in make("-n", "train", *variables).splitlines() if " -m training train " in line]
    (run,) = [line for line in make("-n", "docker-train", *variables).splitlines() if line.startswith("docker run ")]
    assert run.partition(" gan-train ")[2] == here
    assert "--init" in run


def test_clean_takes_only_what_the_project_made(tmp_path: Path) -> None:
    """The environment and the caches go; models, a signed release, sources and data stay."""
    shutil.copy(ROOT / "Makefile", tmp_path)
    for name in (".venv", ".mypy_cache", ".pytest_cache", "a/__pycache__", "runs/x", "data", "training/data", "dist/model"):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "file").touch()
    for name in ("pyproject.toml", "constraints.txt"):
        (tmp_path / name).touch()
    make("clean", cwd=tmp_path)
    left = sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file())
    assert left == [
        "Makefile",
        "constraints.txt",
        "data/file",
        "dist/model/file",
        "pyproject.toml",
        "runs/x/file",
        "training/data/file",
    ]


def test_clean_needs_no_environment() -> None:
    """Cleaning installs nothing first."""
    assert "pip" not in make("-n", "clean")
