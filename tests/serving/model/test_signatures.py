"""Signed models: with a key set, a file is served only when one of our keys vouches for it and it is no older than before."""

from __future__ import annotations

import errno
import hashlib
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from contract import Image, Normal
from serving.app import create_app
from serving.engine.reload import Outcome, Reloader
from serving.errors import ModelError, SettingError
from serving.http.asgi import ASGIApp
from serving.model.load import load_model
from serving.model.signatures import Serials, Statement, Trust, sign, signature_file
from serving.settings import Settings
from tests.harness.processes import TIMEOUT, free_port
from tests.harness.service import environment, running
from tests.serving import tiny_onnx
from tests.serving.client import ask, service_of

KEY, OTHER_KEY = Ed25519PrivateKey.from_private_bytes(bytes(32)), Ed25519PrivateKey.from_private_bytes(bytes(range(32)))


def pem(*keys: Ed25519PrivateKey | X25519PrivateKey) -> bytes:
    """The public halves of keys, as one file."""
    return b"".join(key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo) for key in keys)


def signature(data: bytes, *, name: str = "grey", serial: int = 1, key: Ed25519PrivateKey = KEY) -> str:
    """The text of a signature file for these bytes."""
    return sign(Statement(name=name, serial=serial, digest=hashlib.sha256(data).hexdigest()), key)


def release(serial: int) -> bytes:
    """One of several models of one name, with weights of its own."""
    return tiny_onnx.build("grey", {"z": Normal(20)}, Image(28, 28, 1), [30 + serial])


def put(path: Path, data: bytes, signed: str | None) -> None:
    """A model file and its signature, whole files renamed into place."""
    signature_file(path).unlink(missing_ok=True)
    if signed is not None:
        signature_file(path).write_text(signed)
    partial = path.with_name("partial")
    partial.write_bytes(data)
    partial.replace(path)


@pytest.fixture
def keys(tmp_path: Path) -> Path:
    """The file of public keys."""
    path = tmp_path / "keys.pem"
    path.write_bytes(pem(KEY))
    return path


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """The file of the model that is served, signed with serial 5."""
    path = tmp_path / "m.onnx"
    put(path, release(5), signature(release(5), serial=5))
    return path


def make_app(home: Path, keys: Path, **settings: object) -> ASGIApp:
    overrides = Settings(models=(str(home),), provider="cpu", public_key=keys, **settings)  # type: ignore[arg-type]
    return create_app(overrides, log=lambda event, **facts: None)


def reload(app: ASGIApp) -> Outcome:
    reloader: Reloader = app.flask.extensions["serving"].reloader
    (outcome,) = service_of(app).portal.run(reloader.reload())
    return outcome


WRONG: dict[str, tuple[Callable[[bytes], str | None], str]] = {
    "none": (lambda data: None, "a signature is needed, and m.onnx.sig: cannot be read: No such file or directory"),
    "of another key": (lambda data: signature(data, serial=9, key=OTHER_KEY), "by none of the 1 keys"),
    "of another file": (lambda data: signature(data + b"x", serial=9), "the signature is for a file with SHA-256"),
    "of another model": (
        lambda data: signature(data, name="other", serial=9),
        "for a model named 'other', the card has the name 'grey'",
    ),
    "of a changed serial": (lambda data: signature(data, serial=8).replace("serial: 8", "serial: 9"), "or was changed since"),
    "empty": (lambda data: "", "the file must have 1..4096 bytes, has 0"),
    "of other lines": (lambda data: "untrusted comment: x\n" + signature(data), "must be the five lines"),
    "with more behind it": (lambda data: signature(data, serial=9) + "\n", "must be the five lines"),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_signature_is_refused_at_start(case: str, home: Path, keys: Path) -> None:
    """F-09, S-30: without a signature, or with one that is not this file's by our key, the file is refused and named."""
    make, reason = WRONG[case]
    put(home, release(9), make(release(9)))
    with pytest.raises(ModelError) as refusal:
        make_app(home, keys)
    assert str(refusal.value).startswith(f"{home}: ")
    assert reason in str(refusal.value)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_signature_replaces_nothing(case: str, home: Path, keys: Path) -> None:
    """F-09, S-30: at a reload the same files are refused, the old model goes on, and a good signature alone puts it right."""
    make, reason = WRONG[case]
    app = make_app(home, keys)
    before = ask(app, "seed=42")
    put(home, release(9), make(release(9)))
    outcome = reload(app)
    assert outcome.result == "refused"
    assert reason in str(outcome.reason)
    assert ask(app, "seed=42") == before
    signature_file(home).write_text(signature(release(9), serial=9))
    assert reload(app).result == "swapped"
    assert ask(app, "seed=42") != before


def test_nothing_in_a_file_is_looked_at_before_its_signature(home: Path, keys: Path) -> None:
    """S-30: what is no model at all is refused for its signature, by no parser."""
    put(home, b"no model", None)
    with pytest.raises(ModelError, match="a signature is needed"):
        load_model(home, "cpu", trust=Trust(keys))


def test_an_older_model_is_not_let_in_again(home: Path, keys: Path) -> None:
    """S-30: a replayed older model, rightly signed, is refused at a reload; the same serial and a higher one are not."""
    app = make_app(home, keys)
    before = ask(app, "seed=42")
    put(home, release(4), signature(release(4), serial=4))
    outcome = reload(app)
    assert outcome.result == "refused"
    assert "serial 4 is older than 5, which was accepted before; GAN_DOWNGRADE=on allows it" in str(outcome.reason)
    assert ask(app, "seed=42") == before
    for serial in (5, 6):
        put(home, release(serial), signature(release(serial), serial=serial))
        assert reload(app).result == "swapped"


def test_a_folder_remembers_serials_beyond_the_end(home: Path, keys: Path, tmp_path: Path) -> None:
    """S-30: with GAN_SERIALS an older model is refused at the next start, too, until GAN_DOWNGRADE lets it in for good."""
    serials = tmp_path / "serials"
    make_app(home, keys, serials=serials)
    put(home, release(4), signature(release(4), serial=4))
    with pytest.raises(ModelError, match="serial 4 is older than 5"):
        make_app(home, keys, serials=serials)
    make_app(home, keys, serials=serials, downgrade=True)
    make_app(home, keys, serials=serials)
    assert [path.name for path in serials.iterdir()] == ["grey.serial"]


def test_a_refused_model_is_not_remembered(home: Path, keys: Path, tmp_path: Path) -> None:
    """A file that is signed and does not run raises no serial: the one before it is still let in."""
    serials = tmp_path / "serials"
    put(home, b"no model", signature(b"no model", serial=9))
    with pytest.raises(ModelError):
        make_app(home, keys, serials=serials)
    put(home, release(5), signature(release(5), serial=5))
    make_app(home, keys, serials=serials)


@pytest.mark.parametrize("held", ["", "five\n", "-1\n", "5"])
def test_a_damaged_memory_lets_nothing_in(held: str, home: Path, keys: Path, tmp_path: Path) -> None:
    """A serial that cannot be read is no zero."""
    (tmp_path / "serials").mkdir()
    (tmp_path / "serials/grey.serial").write_text(held)
    with pytest.raises(ModelError, match="must hold a serial|must have 1"):
        make_app(home, keys, serials=tmp_path / "serials")


def test_what_cannot_be_remembered_is_not_let_in(home: Path, keys: Path, tmp_path: Path) -> None:
    """A folder for serials that cannot be written refuses the model."""
    (tmp_path / "serials").write_text("a file")
    with pytest.raises(ModelError, match="GAN_SERIALS: .* cannot be written"):
        make_app(home, keys, serials=tmp_path / "serials")


def test_serials_that_may_not_be_looked_at_let_nothing_in(home: Path, keys: Path, tmp_path: Path) -> None:
    """A folder that the file system refuses, as one that this user may not enter, refuses the model in one line."""
    with pytest.raises(ModelError, match="GAN_SERIALS: .* cannot be read: File name too long"):
        make_app(home, keys, serials=tmp_path / (300 * "x"))


def test_a_serial_that_cannot_be_stored_leaves_nothing(home: Path, keys: Path, tmp_path: Path) -> None:
    """A disk that is full in the middle keeps the highest serial, and no unfinished file stays."""
    make_app(home, keys, serials=tmp_path / "serials")
    before = Serials(tmp_path / "serials").highest("grey")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(ModelError, match="cannot be written: No space left on device"):
            Serials(tmp_path / "serials").store("grey", before + 1)
    assert [path.name for path in (tmp_path / "serials").iterdir()] == ["grey.serial"]
    assert Serials(tmp_path / "serials").highest("grey") == before > 0


def full(descriptor: int) -> None:
    """``os.fsync`` of a disk without space."""
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_each_of_several_keys_is_trusted_until_it_is_taken_out(home: Path, keys: Path) -> None:
    """S-30: keys are read at every load: a new one is accepted at once along with the old, and a revoked one is refused."""
    app = make_app(home, keys)
    keys.write_bytes(pem(OTHER_KEY, KEY))
    for serial, key in ((6, KEY), (7, OTHER_KEY)):
        put(home, release(serial), signature(release(serial), serial=serial, key=key))
        assert reload(app).result == "swapped"
    keys.write_bytes(pem(OTHER_KEY))
    put(home, release(8), signature(release(8), serial=8))
    assert "by none of the 1 keys" in str(reload(app).reason)
    keys.unlink()
    put(home, release(9), signature(release(9), serial=9))
    assert "GAN_PUBLIC_KEY must be a PEM file" in str(reload(app).reason)


UNUSABLE = {
    "missing": None,
    "empty": b"",
    "text": b"no key",
    "another kind": pem(X25519PrivateKey.generate()),
    "one of another kind": pem(KEY, X25519PrivateKey.generate()),
    "damaged": b"-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n",
}


@pytest.mark.parametrize("held", UNUSABLE.values(), ids=UNUSABLE)
def test_keys_that_cannot_be_used_are_refused(held: bytes | None, tmp_path: Path) -> None:
    """The message names the variable, the file, and what would be right."""
    path = tmp_path / "keys.pem"
    if held is not None:
        path.write_bytes(held)
    with pytest.raises(SettingError) as refusal:
        Trust(path)
    assert str(refusal.value).startswith(f"GAN_PUBLIC_KEY must be a PEM file of ed25519 public keys, got '{path}'")
    assert "\n" not in str(refusal.value)


def start(root: Path, home: Path, keys: Path, *prefix: str) -> subprocess.CompletedProcess[str]:
    """A start that must fail."""
    overrides = environment(provider="cpu", port=free_port(), models=home, workers=1, public_key=keys)
    command = [sys.executable, *(prefix or ("-m", "serving"))]
    return subprocess.run(command, cwd=root, env=overrides, capture_output=True, text=True, timeout=TIMEOUT)


@pytest.mark.process
def test_the_service_does_not_start_with_an_unsigned_model(root: Path, home: Path, keys: Path) -> None:
    """F-09: exit code 1, and one line that names the file and what is missing."""
    signature_file(home).unlink()
    ended = start(root, home, keys)
    assert ended.returncode == 1
    assert (
        ended.stderr == f"serving: {home}: a signature is needed, and m.onnx.sig: cannot be read: No such file or directory\n"
    )


@pytest.mark.process
def test_the_service_does_not_start_without_its_keys(root: Path, home: Path, keys: Path) -> None:
    """A wrong GAN_PUBLIC_KEY is exit code 2 and one line, before any worker is started."""
    ended = start(root, home, keys.with_name("none.pem"))
    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr.startswith("serving: GAN_PUBLIC_KEY must be a PEM file of ed25519 public keys, got ")
    assert ended.stderr.count("\n") == 1


@pytest.mark.process
def test_a_key_without_cryptography_is_told(root: Path, home: Path, keys: Path) -> None:
    """Where the package is not installed, the line says what to install."""
    hidden = "import sys, runpy; sys.modules['cryptography'] = None; runpy.run_module('serving', run_name='__main__')"
    ended = start(root, home, keys, "-c", hidden)
    assert (ended.returncode, ended.stderr) == (
        2,
        "serving: GAN_PUBLIC_KEY needs the package cryptography: pip install 'gan-serve[signed]'\n",
    )


@pytest.mark.process
def test_cryptography_is_imported_only_where_a_key_is_set(root: Path, home: Path) -> None:
    """Without GAN_PUBLIC_KEY a service is made and answers without it, and no signature is asked for."""
    signature_file(home).unlink()
    code = (
        "import sys; sys.modules['cryptography'] = None\n"
        "from serving.app import create_app; from serving.settings import Settings\n"
        f"create_app(Settings(models=({str(home)!r},), provider='cpu')); print('made')"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=root, env=environment(), capture_output=True, text=True)
    assert done.stdout.endswith("made\n"), done.stderr


@pytest.mark.process
def test_workers_share_what_they_remember(root: Path, home: Path, keys: Path) -> None:
    """S-30: a worker that is started anew refuses an older model that lies in the place by now, without GAN_SERIALS, too."""
    with running(root, models=home, public_key=keys, watch_seconds=0) as server:
        put(home, release(4), signature(release(4), serial=4))
        (worker,) = server.workers()
        subprocess.run(["kill", "-KILL", str(worker)], check=True)
        assert server.process.wait(TIMEOUT) == 1
        assert "serial 4 is older than 5" in server.errors()
