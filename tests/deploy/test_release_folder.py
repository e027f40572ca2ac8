"""What `make release` may delete and what it must leave: an older release, and anything else."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from deploy.release.__main__ import files_in, write_sums
from deploy.release.folder import others_in
from tests.deploy.releasing import put_model, refused

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
