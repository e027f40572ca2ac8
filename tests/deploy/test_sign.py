"""The signing command: what it writes is what the service trusts, made with keys as openssl makes them."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from deploy.release.sign import SigningError, read_private_key, sign_file
from serving.model.load import load_model
from serving.model.signatures import Trust, signature_file
from tests.deploy.releasing import with_flipped_bit
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
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)


def test_what_is_signed_is_served(key: Path, tmp_path: Path) -> None:
    """A signature by the command is trusted by the public half of its key."""
    model = tmp_path / "m.onnx"
    model.write_bytes(tiny_onnx.grey())
    done = sign(model, "--key", key, "--serial", 7)
    assert (done.returncode, done.stdout) == (0, f"{signature_file(model)}\n"), done.stderr
    assert load_model(model, "cpu", trust=Trust(tmp_path / "key.pub.pem")).card.name == "grey"


def test_openssl_agrees(key: Path, tmp_path: Path) -> None:
    """The commands in docs/RELEASING.md check the signature without our code, and not that of a changed text."""
    model = tmp_path / "model.onnx"
    model.write_bytes(tiny_onnx.grey())
    sign(model, "--key", key, "--serial", 7)
    (tmp_path / "key.pub.pem").rename(tmp_path / "release.pub.pem")
    blocks = re.findall(r"```sh\n(.*?)```", (ROOT / "docs/RELEASING.md").read_text(), re.DOTALL)
    (commands,) = [block for block in blocks if "model.onnx.sig > text" in block]

    def check() -> str:
        return subprocess.run(["bash", "-c", commands], cwd=tmp_path, capture_output=True, text=True).stdout

    assert "Signature Verified Successfully" in check()
    assert check().split()[-2] == signature_file(model).read_text().splitlines()[3].removeprefix("sha256: ")
    signature_file(model).write_text(signature_file(model).read_text().replace("serial: 7", "serial: 8"))
    assert "Signature Verified Successfully" not in check()


def test_a_wrong_key_signs_nothing(key: Path, tmp_path: Path) -> None:
    """A missing key, a public one, one of another kind, an encrypted one and a pipe: one line that names it, exit code 1."""
    model = tmp_path / "m.onnx"
    model.write_bytes(tiny_onnx.grey())
    openssl("genpkey", "-algorithm", "x25519", "-out", str(tmp_path / "other.pem"))
    openssl("pkey", "-in", str(key), "-aes256", "-passout", "pass:x", "-out", str(tmp_path / "encrypted.pem"))
    os.mkfifo(tmp_path / "pipe.pem")
    wrong = {
        "none.pem": ": cannot be read: No such file or directory",
        "key.pub.pem": " with something else",
        "other.pem": " with another kind",
        "encrypted.pem": ", which is encrypted",
        "pipe.pem": ": it must be a regular file",
    }
    for name, why in wrong.items():
        done = sign(model, "--key", tmp_path / name, "--serial", 7)
        right = "sign: the key must be an ed25519 private key in PEM, not encrypted, got"
        assert (done.returncode, done.stdout, done.stderr) == (1, "", f"{right} {tmp_path / name}{why}\n")
    assert not signature_file(model).exists()


def test_a_model_that_the_service_refuses_is_not_signed(key: Path, tmp_path: Path) -> None:
    """The signing command loads the model as the service does: one flipped bit of a weight is found by a golden."""
    model = tmp_path / "m.onnx"
    model.write_bytes(with_flipped_bit(tiny_onnx.grey()))
    done = sign(model, "--key", key, "--serial", 7)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1)
    assert "golden seed" in done.stderr
    assert not signature_file(model).exists()


def test_what_is_no_model_is_not_signed(key: Path, tmp_path: Path) -> None:
    """A file without a card has no name that could be signed, a pipe is not waited for, and a serial ends somewhere."""
    os.mkfifo(tmp_path / "pipe.onnx")
    assert "it must be a regular file" in sign(tmp_path / "pipe.onnx", "--key", key, "--serial", 7).stderr
    missing = sign(tmp_path / "m.onnx", "--key", key, "--serial", 7)
    assert (missing.returncode, missing.stderr) == (
        1,
        f"sign: {tmp_path / 'm.onnx'} cannot be read: No such file or directory\n",
    )
    (tmp_path / "m.onnx").write_bytes(b"no model")
    assert sign(tmp_path / "m.onnx", "--key", key, "--serial", 7).stderr.startswith("sign: no model that could be served: ")
    (tmp_path / "m.onnx").write_bytes(tiny_onnx.grey())
    assert "a serial must be 0..999999999999999, got -1" in sign(tmp_path / "m.onnx", "--key", key, "--serial", -1).stderr


def test_a_file_that_was_not_checked_is_not_signed(key: Path, tmp_path: Path) -> None:
    """A model that replaced the checked one has another digest."""
    model = tmp_path / "m.onnx"
    model.write_bytes(tiny_onnx.grey())
    with pytest.raises(SigningError, match=r"m\.onnx was replaced after it was checked; run it again"):
        sign_file(model, read_private_key(key), 7, hashlib.sha256(b"checked").hexdigest())
    assert not signature_file(model).exists()


def test_a_signature_that_cannot_be_written_is_one_line(key: Path, tmp_path: Path) -> None:
    """Here a folder in its place: exit code 1, and no partial file is left."""
    model = tmp_path / "m.onnx"
    model.write_bytes(tiny_onnx.grey())
    signature_file(model).mkdir()
    done = sign(model, "--key", key, "--serial", 7)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == f"sign: {signature_file(model)} cannot be written: Is a directory\n"
    assert {path.name for path in tmp_path.iterdir()} == {"key.pem", "key.pub.pem", "m.onnx", "m.onnx.sig"}


def test_an_older_signature_stays_until_the_new_one_is_whole(
    key: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A disk that is full while it is written."""
    model = tmp_path / "m.onnx"
    model.write_bytes(tiny_onnx.grey())
    signature_file(model).write_bytes(b"older")

    def fail(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(SigningError, match=r"m\.onnx\.sig cannot be written: No space left on device"):
        sign_file(model, read_private_key(key), 7, hashlib.sha256(model.read_bytes()).hexdigest())
    assert signature_file(model).read_text() == "older"
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


@pytest.mark.parametrize("command", ["deploy.release.sign", "deploy.release"])
def test_a_serial_has_ascii_digits_only(key: Path, command: str) -> None:
    """Python would read some other spellings as numbers."""
    model = ["--model", "m.onnx"] if command == "deploy.release" else ["m.onnx"]
    for serial in ("1_0", " 7", "\u0667", "+7"):
        line = [sys.executable, "-m", command, *model, "--key", str(key), "--serial", serial]
        done = subprocess.run(line, cwd=ROOT, capture_output=True, text=True)
        said = f"argument --serial: a serial must be 0..999999999999999, got {ascii(serial)}\n"
        assert (done.returncode, done.stderr.endswith(said)) == (2, True), done.stderr
