"""What `make release` may delete and what it must leave: an older release, and anything else."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from deploy.release.__main__ import files_in, write_sums
from deploy.release.folder import LeftoverError, ReleaseError, check_place, others_in, replace
from tests.deploy.releasing import make_release, put_model, put_project, refused
from tests.repository.files import ROOT

NAMES = (
    "gan_serve-0.1.0-py3-none-any.whl",
    "gan-serve-0.1.0-serve-image.tar.gz",
    "gan-serve-0.1.0-train-image.tar.gz",
    "gan-serve-0.1.0-serve-gpu.requirements.txt",
    "gan-serve-0.1.0-serve-gpu.cdx.json",
    "model/card.json",
    "model/model.onnx",
    "model/model.onnx.sig",
)


def put_release(folder: Path) -> Path:
    """Write a folder with the names and sums of a signed release; the folder."""
    (folder / "model").mkdir(parents=True)
    for name in NAMES:
        (folder / name).write_text(name)
    write_sums(folder / "model")
    write_sums(folder)
    (folder / "SHA256SUMS.sig").write_bytes(bytes(64))
    return folder


ADDED: dict[str, Callable[[Path], object]] = {
    "empty": lambda path: path.mkdir(),
    "model/empty": lambda path: path.mkdir(),
    "link": lambda path: path.symlink_to("nowhere"),
    "model/a.onnx": lambda path: path.symlink_to("model.onnx"),
    "pipe": lambda path: os.mkfifo(path),
    "thesis.txt": lambda path: path.write_text("years of work"),
    "gan_serve-0.2.0-py3-none-any.whl": lambda path: path.write_text("a wheel of another build"),
    "model/model.onnx": lambda path: path.write_text("a model that was trained anew"),
}
"""By name, what is put into a release."""


@pytest.mark.parametrize("name", ADDED)
def test_what_is_not_of_an_older_release_counts(tmp_path: Path, name: str) -> None:
    """Each other thing in a release is found: empty folders, links, pipes, and files that were changed since."""
    folder = put_release(tmp_path / "dist")
    assert list(others_in(folder)) == []
    ADDED[name](folder / name)
    assert list(others_in(folder)) == [name]


def test_a_release_of_which_files_are_missing_may_be_replaced(tmp_path: Path) -> None:
    """Nothing is lost with it, nor with an empty folder or none."""
    folder = put_release(tmp_path / "dist")
    (folder / "model/model.onnx").unlink()
    (tmp_path / "empty").mkdir()
    assert [list(others_in(one)) for one in (folder, tmp_path / "empty", tmp_path / "none")] == [[], [], []]


def test_sums_without_the_release_that_they_are_of_count(tmp_path: Path) -> None:
    """Neither empty sums nor a link to a release's make a release of the folder."""
    (tmp_path / "SHA256SUMS").touch()
    assert list(others_in(tmp_path)) == ["SHA256SUMS"]
    sums = put_release(tmp_path / "dist") / "SHA256SUMS"
    (tmp_path / "SHA256SUMS").unlink()
    (tmp_path / "SHA256SUMS").symlink_to(sums)
    assert list(others_in(tmp_path)) == ["SHA256SUMS", "dist"]


@pytest.mark.process
def test_a_folder_with_sums_of_its_own_is_not_replaced(tmp_path: Path) -> None:
    """Files that a release does not write stay, also where ``SHA256SUMS`` has their digests."""
    folder = tmp_path / "dist"
    folder.mkdir()
    (folder / "thesis.txt").write_text("years of work")
    (folder / "SHA256SUMS").write_text(f"{hashlib.sha256(b'years of work').hexdigest()}  thesis.txt\n")
    line = refused("--model", put_model(tmp_path), "--out", folder)
    assert "holds something that is no release, SHA256SUMS; it is not replaced" in line
    assert [path.name for path in files_in(folder)] == ["SHA256SUMS", "thesis.txt"]


def put_two(folder: Path) -> tuple[Path, Path, Path]:
    """An older release, a new one, and the name that the older one gets."""
    made = put_release(folder / "made")
    (made / "model/model.onnx").write_text("new")
    return put_release(folder / "dist"), made, folder / "old"


def test_a_release_replaces_an_older_one(tmp_path: Path) -> None:
    """The new one is there, and nothing else."""
    out, made, aside = put_two(tmp_path)
    replace(out, made, aside)
    assert (out / "model/model.onnx").read_text() == "new"
    assert list(tmp_path.iterdir()) == [out]


def test_an_older_release_is_back_if_the_new_one_cannot_be_renamed(tmp_path: Path) -> None:
    """It is renamed, not deleted, before the new one is there."""
    out, made, aside = put_two(tmp_path)
    shutil.rmtree(made)
    with pytest.raises(FileNotFoundError):
        replace(out, made, aside)
    assert (out / "model/model.onnx").read_text() == "model/model.onnx"
    assert list(tmp_path.iterdir()) == [out]


def test_an_older_release_that_cannot_be_deleted_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Such as one with an immutable file: the new one is whole, and the line says where the rest of the older one is."""

    def fail(path: Path) -> None:
        raise PermissionError(1, "Operation not permitted", str(path))

    monkeypatch.setattr(shutil, "rmtree", fail)
    out, made, aside = put_two(tmp_path)
    with pytest.raises(LeftoverError, match=f"{out} is the new release; the older one is left at {aside}: Operation not"):
        replace(out, made, aside)
    assert (out / "model/model.onnx").read_text() == "new"


def test_what_was_added_meanwhile_is_not_deleted(tmp_path: Path) -> None:
    """The folder is looked at again when the release is made."""
    out, made, aside = put_two(tmp_path)
    (out / "thesis.txt").write_text("years of work")
    with pytest.raises(ReleaseError, match=r"holds something that is no release, thesis\.txt"):
        replace(out, made, aside)
    assert (out / "thesis.txt").exists()


@pytest.fixture
def _interruptible() -> Iterator[None]:
    """Ctrl-C as Python begins with it: a test of the training job in this process may have left another handler."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("_interruptible")
def test_a_signal_between_the_two_renames_waits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else a stopped release would leave no folder."""
    rename = Path.rename

    def rename_and_stop(path: Path, target: Path) -> Path:
        signal.raise_signal(signal.SIGINT)
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", rename_and_stop)
    out, made, aside = put_two(tmp_path)
    with pytest.raises(KeyboardInterrupt):
        replace(out, made, aside)
    assert (out / "model/model.onnx").read_text() == "new"
    assert list(tmp_path.iterdir()) == [out]


def test_a_root_is_refused_without_a_look_into_it() -> None:
    """It can never be renamed, nor can a mount point."""
    for folder in ("/", "/proc"):
        with pytest.raises(ReleaseError, match=f"{folder} is a root or a mount point, which cannot be replaced"):
            check_place(Path(folder))


@pytest.mark.process
def test_a_folder_that_cannot_be_made_is_one_line(tmp_path: Path) -> None:
    """Here its parent is a file: exit code 2, before anything is built."""
    (tmp_path / "file").touch()
    done = make_release("--model", put_model(tmp_path), "--out", tmp_path / "file/dist")
    assert (done.returncode, done.stderr) == (2, f"release: {tmp_path}/file/dist: Not a directory\n")


@pytest.mark.process
@pytest.mark.parametrize(("number", "place"), [(signal.SIGINT, "out/.release-*/source/*"), (signal.SIGTERM, "gan-lock-*/*")])
def test_a_stopped_release_leaves_nothing(tmp_path: Path, number: int, place: str) -> None:
    """Neither a traceback nor a temporary folder, while the wheel is built and while pip resolves."""
    project, model = put_project(tmp_path / "project"), put_model(tmp_path)
    command = [sys.executable, "-m", "deploy.release", "--model", str(model), "--out", str(tmp_path / "out/dist")]
    env = os.environ | {"TMPDIR": str(tmp_path), "PYTHONPATH": str(project)}
    with subprocess.Popen(command, cwd=project, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        while process.poll() is None and not list(tmp_path.glob(place)):
            time.sleep(0.02)
        process.send_signal(number)
        out, err = process.communicate(timeout=60)
    assert (process.returncode, out, err) == (128 + number, b"", b"")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["key.pem", "key.pub.pem", "m.onnx", "out", "project"]
    assert list((tmp_path / "out").iterdir()) == []


def link_model(dist: Path) -> None:
    """Move the model's folder out of a release, and put a link in its place."""
    (dist / "model").rename(dist.parent / "m")
    (dist / "model").symlink_to("../m")


TAMPERED: dict[str, tuple[Callable[[Path], object], str]] = {
    "file": (lambda dist: (dist / "model/a.onnx").write_text("x"), "> f model/a.onnx"),
    "hidden": (lambda dist: (dist / ".env").write_text("x"), "> f .env"),
    "link": (lambda dist: (dist / "model/a.onnx").symlink_to("model.onnx"), "> l model/a.onnx"),
    "pipe": (lambda dist: os.mkfifo(dist / "model/a.onnx"), "> p model/a.onnx"),
    "line feed": (lambda dist: (dist / "model/card.json\nf a.onnx").write_text("x"), "> f a.onnx"),
    "linked": (link_model, "> l model"),
    "changed": (lambda dist: (dist / "model/model.onnx").write_text("x"), "model/model.onnx: FAILED"),
    "missing": (lambda dist: (dist / "model/card.json").unlink(), "model/card.json: FAILED open or read"),
    "sums": (lambda dist: (dist / "SHA256SUMS").write_text("x"), "Signature Verification Failure"),
}
"""What is done to a release, and a line by which the documented commands name it."""


@pytest.mark.process
@pytest.mark.skipif(not shutil.which("openssl"), reason="needs openssl")
@pytest.mark.parametrize("shell", ["bash", "sh"])
def test_the_documented_commands_find_what_is_not_the_release_s(tmp_path: Path, shell: str) -> None:
    """The commands in docs/RELEASING.md accept a release and refuse each tampered copy; an added model would be served."""
    blocks = re.findall(r"```sh\n(.*?)```", (ROOT / "docs/RELEASING.md").read_text(), re.DOTALL)
    (commands,) = [block for block in blocks if "SHA256SUMS.sig" in block]

    def check(folder: Path) -> tuple[int, list[str]]:
        command = [shell, "-c", commands]
        done = subprocess.run(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        return done.returncode, done.stdout.splitlines()

    put_model(tmp_path)
    key = load_pem_private_key((tmp_path / "key.pem").read_bytes(), None)
    assert isinstance(key, Ed25519PrivateKey)
    for name, (tamper, line) in {"as it is": (lambda _: None, "Signature Verified Successfully"), **TAMPERED}.items():
        dist = put_release(tmp_path / name / "dist")
        shutil.copy(tmp_path / "key.pub.pem", dist.parent / "release.pub.pem")
        (dist / "SHA256SUMS.sig").write_bytes(key.sign((dist / "SHA256SUMS").read_bytes()))
        tamper(dist)
        code, lines = check(dist.parent)
        assert (name, code == 0) == (name, name == "as it is"), lines
        assert line in lines
