"""A result has the commit and the machine of its training; a run that other code began is not gone on with."""

from __future__ import annotations

import json
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.commit import describe_commit
from benchmarks.scoreboard.__main__ import run_rows
from benchmarks.scoreboard.origin import CODE, ORIGIN
from benchmarks.scoreboard.results import RESULTS, Result, load_results
from benchmarks.scoreboard.workspace import Workspace
from tests.benchmarks.scoreboard.test_jobs import TINY, workspace_in


def git(folder: Path, *words: str) -> str:
    """What git prints."""
    who = ("-c", "user.name=a", "-c", "user.email=a@b.c")
    return subprocess.run(["git", "-C", folder, *who, *words], check=True, capture_output=True, text=True).stdout.strip()


def commit(folder: Path, name: str, text: str) -> str:
    """Write a file of a repository and commit it; the commit's first twelve digits."""
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    git(folder, "add", ".")
    git(folder, "commit", "-qm", name)
    return git(folder, "rev-parse", "--short=12", "HEAD")


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """One of a single commit."""
    folder = tmp_path / "repository"
    folder.mkdir()
    git(folder, "init", "-q")
    commit(folder, "training/loop.py", "one")
    return folder


def result_of(workspace: Workspace) -> Result:
    """The result of the tiny row, measured now."""
    (workspace.docs / RESULTS / "tiny.json").unlink(missing_ok=True)
    assert run_rows([TINY], [], workspace, scale="full", seeds=None) == 0
    (result,) = load_results(workspace.docs / RESULTS, "tiny", "full")
    return result


@pytest.mark.slow
def test_a_result_has_the_commit_of_its_training(repository: Path, tmp_path: Path) -> None:
    """A finished run that is measured later keeps its commit; after a change of training/ it is trained anew."""
    said: list[str] = []
    workspace = replace(workspace_in(tmp_path / "docs", said), root=repository)
    first = git(repository, "rev-parse", "--short=12", "HEAD")
    assert result_of(workspace).commit == first
    (checkpoint,) = (workspace.runs / "toy1d-4-seed0").glob("checkpoint-*.pt")
    made = checkpoint.stat().st_mtime_ns
    commit(repository, "docs/LOG.md", "a page")
    assert (result_of(workspace).commit, checkpoint.stat().st_mtime_ns) == (first, made)
    later = commit(repository, "training/loop.py", "two")
    assert result_of(workspace).commit == later
    assert checkpoint.stat().st_mtime_ns > made
    assert f"toy1d-4-seed0 was begun by other code, of commit {first}: it is trained anew" in said


@pytest.mark.slow
def test_a_result_has_the_machine_of_its_training(repository: Path, tmp_path: Path) -> None:
    """What another machine trained to its end keeps that machine; one that went on with it here has both."""
    workspace = replace(workspace_in(tmp_path / "docs", []), root=repository)
    here = result_of(workspace).machine
    path = workspace.runs / "toy1d-4-seed0" / ORIGIN
    origin = {**json.loads(path.read_text()), "machines": ["8 cores of another"]}
    path.write_text(json.dumps(origin))
    assert result_of(workspace).machine == "8 cores of another"
    path.write_text(json.dumps({**origin, "finished": []}))
    assert result_of(workspace).machine == f"8 cores of another, then {here}"


@pytest.mark.slow
def test_a_run_of_an_unknown_commit_is_trained_anew(repository: Path, tmp_path: Path) -> None:
    """One that says nothing of its origin, as before this file was written, stands under no commit."""
    said: list[str] = []
    workspace = replace(workspace_in(tmp_path / "docs", said), root=repository)
    result_of(workspace)
    (workspace.runs / "toy1d-4-seed0" / ORIGIN).unlink()
    said.clear()
    result_of(workspace)
    assert said[1] == "toy1d-4-seed0 was begun by other code, of an unknown commit: it is trained anew"


def test_changed_benchmarks_are_no_clean_commit(repository: Path) -> None:
    """A program of benchmarks/ that plays or measures games belongs to the code: a plus sign says that it was changed."""
    (repository / "docs").mkdir()
    (repository / "docs" / "LOG.md").write_text("a page")
    clean = describe_commit(repository, *CODE)
    assert not clean.endswith("+")
    (repository / "benchmarks").mkdir()
    (repository / "benchmarks" / "measures.py").write_text("one")
    assert describe_commit(repository, *CODE) == f"{clean}+"
