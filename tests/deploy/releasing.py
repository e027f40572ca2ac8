"""The command behind `make release`, a model that it accepts and its keys."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from tests.repository.files import ROOT, files
from tests.serving import tiny_onnx


def put_model(folder: Path) -> Path:
    """Write a model, and next to it ``key.pem`` and ``key.pub.pem``; the model's path."""
    key = Ed25519PrivateKey.generate()
    (folder / "key.pem").write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    (folder / "key.pub.pem").write_bytes(key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    (folder / "m.onnx").write_bytes(tiny_onnx.grey())
    return folder / "m.onnx"


def put_project(folder: Path) -> Path:
    """Commit all files of the repository as they are now to a repository of its own in an empty folder; the folder."""
    for path in files():
        copy = folder / path.relative_to(ROOT)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, copy)
    git(folder, "init", "--quiet")
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "--message", "all")
    return folder


def git(project: Path, *arguments: str) -> None:
    """Run a git command in a repository."""
    options = ["-c", "user.name=test", "-c", "user.email=test@localhost", "-c", "commit.gpgsign=false"]
    subprocess.run(["git", *options, *arguments], cwd=project, check=True, capture_output=True)


def with_flipped_bit(data: bytes) -> bytes:
    """The model of ``put_model`` with one weight of another exponent: its card is good, its goldens differ."""
    graph = tiny_onnx.Graph()
    graph.dense("z", 20, 48)
    place = data.index(graph.weights["w0"].tobytes()) + 3
    return data[:place] + bytes([data[place] ^ 0x40]) + data[place + 1 :]


def make_release(*arguments: object, project: Path = ROOT, umask: int = 0o022) -> subprocess.CompletedProcess[str]:
    """Run the command in a project's folder."""
    command = [sys.executable, "-m", "deploy.release", *map(str, arguments)]
    return subprocess.run(command, cwd=project, capture_output=True, text=True, umask=umask)


def refused(*arguments: object, project: Path = ROOT) -> str:
    """The line of a release that is refused before anything is built."""
    done = make_release(*arguments, project=project)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1)
    return done.stderr
