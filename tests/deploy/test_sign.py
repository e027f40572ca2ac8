"""The signing command: what it writes is what the service trusts, made with keys as openssl makes them."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from serving.model.load import load_model
from serving.model.signatures import Trust, signature_file
from tests.repository.files import ROOT
from tests.serving import tiny_onnx

pytestmark = [pytest.mark.process, pytest.mark.skipif(not shutil.which("openssl"), reason="needs openssl")]


@pytest.fixture
def key(tmp_path: Path) -> Path:
    """A private key, and ``key.pub.pem`` next to it, by the commands of docs/RELEASING.md."""
    openssl("genpkey", "-algorithm", "ed25519", "-out", str(tmp_path / "key.pem"))
    openssl("pkey", "-in", str(tmp_path / "key.pem"), "-pubout", "-out", str(tmp_path / "key.pub.pem"))
    return tmp_path / "key.pem"


def openssl(*arguments: str) -> None:
    subprocess.run(["openssl", *arguments], check=True, capture_output=True)


def sign(*arguments: object) -> subprocess.CompletedProcess[str]:
    """The command, as it is typed."""
    command = [sys.executable, "-m", "deploy.release.sign", *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True)


def test_what_is_signed_is_served(key: Path, tmp_path: Path) -> None:
    """A signature by the command is trusted by the public half of its key."""
    model = tmp_path / "m.onnx"
    model.write_bytes(tiny_onnx.grey())
    done = sign(model, "--key", key, "--serial", 7)
    assert (done.returncode, done.stdout) == (0, f"{signature_file(model)}\n"), done.stderr
    assert load_model(model, "cpu", trust=Trust(tmp_path / "key.pub.pem")).card.name == "grey"


def test_openssl_agrees(key: Path, tmp_path: Path) -> None:
    """The signature can be checked without our code: it is ed25519 over the first four lines."""
    model = tmp_path / "m.onnx"
    model.write_bytes(tiny_onnx.grey())
    sign(model, "--key", key, "--serial", 7)
    *lines, last = signature_file(model).read_text().splitlines(keepends=True)
    (tmp_path / "text").write_text("".join(lines))
    (tmp_path / "base64").write_text(last.removeprefix("signature: "))
    openssl("base64", "-d", "-A", "-in", str(tmp_path / "base64"), "-out", str(tmp_path / "signature"))
    openssl(
        "pkeyutl",
        "-verify",
        "-pubin",
        "-inkey",
        str(tmp_path / "key.pub.pem"),
        "-rawin",
        "-in",
        str(tmp_path / "text"),
        "-sigfile",
        str(tmp_path / "signature"),
    )


def test_a_wrong_key_signs_nothing(key: Path, tmp_path: Path) -> None:
    """A missing key, a public one and one of another kind are reported in one line, with exit code 1."""
    model = tmp_path / "m.onnx"
    model.write_bytes(tiny_onnx.grey())
    openssl("genpkey", "-algorithm", "x25519", "-out", str(tmp_path / "other.pem"))
    for name in ("none.pem", "key.pub.pem", "other.pem"):
        done = sign(model, "--key", tmp_path / name, "--serial", 7)
        assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1)
        assert done.stderr.startswith("sign: the key must be an ed25519 private key in PEM, not encrypted, got ")
    assert not signature_file(model).exists()


def test_what_is_no_model_is_not_signed(key: Path, tmp_path: Path) -> None:
    """A file without a card has no name that could be signed, and a serial ends somewhere."""
    (tmp_path / "m.onnx").write_bytes(b"no model")
    assert sign(tmp_path / "m.onnx", "--key", key, "--serial", 7).stderr.startswith("sign: no model that could be served: ")
    (tmp_path / "m.onnx").write_bytes(tiny_onnx.grey())
    assert "a serial must be 0..999999999999999, got -1" in sign(tmp_path / "m.onnx", "--key", key, "--serial", -1).stderr
