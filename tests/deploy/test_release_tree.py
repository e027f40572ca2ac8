"""What a release takes from the tree: the files of the last commit, and a Dockerfile that builds what the bill describes."""

from __future__ import annotations

import gzip
import io
import re
import subprocess
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

import deploy.release.__main__ as command
from deploy.release.archives import BUILD_ARGUMENTS, BuildError, build_wheel, check_tree, context
from tests.deploy.releasing import git, put_model, put_project, refused
from tests.repository.files import ROOT


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A small project of the files that archives take, committed."""
    project = tmp_path / "project"
    for name in ("LICENSE", "contract/a.py", "gan_serve/a.py", "serving/app.py", "training/a.py", "deploy/install/a.txt"):
        (project / name).parent.mkdir(parents=True, exist_ok=True)
        (project / name).write_text("x = 1\n")
    for name in ("pyproject.toml", "constraints.txt", "Makefile", ".gitignore", "Dockerfile.serve", "Dockerfile.train"):
        (project / name).write_bytes((ROOT / name).read_bytes())
    git(project, "init", "--quiet")
    git(project, "add", "--all")
    git(project, "commit", "--quiet", "--message", "all")
    return project


def files_of(data: bytes) -> dict[str, bytes]:
    """The files of a build context."""
    with tarfile.open(fileobj=io.BytesIO(gzip.decompress(data))) as archive:
        taken = {member.name: archive.extractfile(member) for member in archive.getmembers()}
    return {name: file.read() for name, file in taken.items() if file}


CHANGES: dict[str, Callable[[Path], object]] = {
    "serving/app.py": lambda project: (project / "serving/app.py").write_text("x = 2\n"),
    "serving/.env": lambda project: (project / "serving/.env").write_text("SECRET=1\n"),
    "contract/a.py": lambda project: (project / "contract/a.py").unlink(),
    "Makefile": lambda project: (project / "Makefile").write_text("all:\n"),
}


@pytest.mark.process
@pytest.mark.parametrize("name", CHANGES)
def test_a_tree_that_is_no_commit_is_not_released(project: Path, name: str) -> None:
    """A changed, an added and a missing file are named; a release is dated as a commit, so it must have no other files."""
    check_tree(project)
    CHANGES[name](project)
    with pytest.raises(
        BuildError, match=rf"the tree differs from the last commit, .*, in {re.escape(name)}: commit or stash it"
    ):
        check_tree(project)


@pytest.mark.process
def test_several_changes_are_counted(project: Path) -> None:
    """The first is named, and the number of the others."""
    for change in CHANGES.values():
        change(project)
    with pytest.raises(BuildError, match=r"in \S+ and 3 others: commit"):
        check_tree(project)


@pytest.mark.process
def test_what_is_not_shipped_may_lie_in_the_tree(project: Path) -> None:
    """A new key or a note next to the Makefile does not stop a release, nor does what git ignores; none of it is shipped."""
    for name in ("release.pem", "serving/__pycache__/app.pyc", "runs/x/model.onnx", "serving/x.egg-info/PKG-INFO"):
        (project / name).parent.mkdir(parents=True, exist_ok=True)
        (project / name).write_text("x")
    check_tree(project)
    names = files_of(context(project, "Dockerfile.serve", "serve", 0)).keys()
    assert sorted(name for name in names if name.startswith("serving/")) == ["serving/app.py"]
    assert not [name for name in names if "release.pem" in name or "runs" in name]


@pytest.mark.process
def test_the_wheel_leaves_out_what_git_ignores(tmp_path: Path) -> None:
    """A module in an ignored folder is in no wheel, though setuptools would take it."""
    project = put_project(tmp_path / "project")
    (project / "serving/runs.egg-info").mkdir()
    (project / "serving/runs.egg-info/secret.py").write_text("x = 1\n")
    (project / "serving/ignored.py").write_text("x = 1\n")
    (project / ".git/info/exclude").write_text("ignored.py\n")
    (tmp_path / "out").mkdir()
    wheel = build_wheel(project, tmp_path / "out", tmp_path / "source", {"PATH": "/usr/bin:/bin"})
    with zipfile.ZipFile(wheel) as archive:
        assert [name for name in archive.namelist() if "secret" in name or "ignored" in name] == []


@pytest.mark.process
def test_the_command_refuses_a_changed_tree(tmp_path: Path) -> None:
    """Before anything is built: one line, exit code 1, nothing written."""
    project, model = put_project(tmp_path / "project"), put_model(tmp_path)
    (project / "serving/.env").write_text("SECRET=1\n")
    line = refused("--model", model, "--out", tmp_path / "dist", project=project)
    assert re.match(r"release: the tree differs from the last commit, .*serving/\.env", line)
    assert not (tmp_path / "dist").exists()


@pytest.mark.process
def test_a_folder_without_a_history_is_taken_as_it_is(project: Path) -> None:
    """In an unpacked archive of the sources no git says what belongs to them."""
    (project / ".git").rename(project.parent / "away")
    (project / "serving/more.py").write_text("x = 1\n")
    check_tree(project)
    assert "serving/more.py" in files_of(context(project, "Dockerfile.serve", "serve", 0))


@pytest.mark.process
@pytest.mark.parametrize("dockerfile", ["Dockerfile.serve", "Dockerfile.train"])
@pytest.mark.parametrize("runtime", BUILD_ARGUMENTS)
def test_a_context_builds_the_runtime_of_the_bill(runtime: str, dockerfile: str) -> None:
    """`docker build - < FILE` without build arguments installs the runtime whose packages are pinned and listed."""
    text = files_of(context(ROOT, dockerfile, runtime, 0))["Dockerfile"].decode()
    assert re.findall(r"^ARG RUNTIME=(.*)$", text, re.MULTILINE) == [runtime]
    (base,) = re.findall(r"^ARG BASE=(.*)$", text, re.MULTILINE)
    assert base.startswith("nvidia/cuda:" if runtime == "serve-gpu" else "ubuntu:")
    changed = [line for line in text.splitlines() if line not in (ROOT / dockerfile).read_text().splitlines()]
    assert changed == [f"ARG {name}={value}" for name, value in BUILD_ARGUMENTS[runtime].items()]


def test_the_arguments_of_a_runtime_are_the_same_everywhere() -> None:
    """`make docker-serve` and the composition build the CPU's images with the same base and runtime."""
    (made,) = re.findall(r"^DOCKER_CPU = .*$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert dict(re.findall(r"--build-arg (\w+)=([\w:.]+)", made)) == BUILD_ARGUMENTS["serve"]
    composed = yaml.safe_load((ROOT / "deploy/compose.yaml").read_text())["services"]
    assert composed["serve"]["build"]["args"] == composed["train"]["build"]["args"] == BUILD_ARGUMENTS["serve"]


@pytest.mark.process
@pytest.mark.parametrize("flag", ["assume-unchanged", "skip-worktree"])
def test_a_file_whose_changes_git_does_not_look_for_is_not_released(project: Path, flag: str) -> None:
    """Such a file passes for that of the commit; the command in the message makes git look again."""
    git(project, "update-index", f"--{flag}", "serving/app.py")
    (project / "serving/app.py").write_text("x = 2\n")
    with pytest.raises(BuildError) as caught:
        check_tree(project)
    mended = f"git update-index --no-{flag} serving/app.py"
    assert str(caught.value) == f"git does not look for changes of serving/app.py: {mended}"
    subprocess.run(mended.split(), cwd=project, check=True)
    with pytest.raises(BuildError, match="the tree differs from the last commit"):
        check_tree(project)


def commit_another(project: Path) -> None:
    """Change a file, and commit it."""
    (project / "serving/app.py").write_text("x = 2\n")
    git(project, "commit", "--quiet", "--all", "--message", "another")


MEANWHILE: dict[str, tuple[Callable[[Path], object], str]] = {
    "changed": (CHANGES["serving/app.py"], "the tree differs from the last commit, which dates a release, in serving/app.py"),
    "added": (CHANGES["serving/.env"], "the tree differs from the last commit, which dates a release, in serving/.env"),
    "committed": (commit_another, "another commit was checked out while the release was made; run it again"),
}
"""What happens while a release is made, and what the command says."""


@pytest.mark.process
@pytest.mark.parametrize("case", MEANWHILE)
def test_a_tree_that_changes_while_it_is_released_is_no_release(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], case: str
) -> None:
    """It is looked at again at the end: one line, exit code 1, and no folder."""
    change, line = MEANWHILE[case]
    monkeypatch.setattr(command, "ROOT", project)
    monkeypatch.setattr(command, "release", lambda *_: change(project))
    asked = ["--model", str(put_model(tmp_path)), "--out", str(tmp_path / "out/dist")]
    assert command.main(asked, {}) == 1
    assert capsys.readouterr().err.startswith(f"release: {line}")
    assert list((tmp_path / "out").iterdir()) == []
    git(project, "reset", "--quiet", "--hard")
    git(project, "clean", "--quiet", "--force", "-d")
    monkeypatch.setattr(command, "release", lambda made, *_: (made / "model").mkdir())
    assert command.main(asked, {}) == 0
