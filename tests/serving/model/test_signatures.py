"""Signed models: with a key set, a file is served only when one of our keys vouches for it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from serving.errors import ModelError, SettingError
from serving.model.load import load_model
from serving.model.signatures import Trust, signature_file
from tests.harness.service import environment, run_to_end
from tests.serving.client import ask
from tests.serving.model.signing import KEY, OTHER_KEY, pem, put, put_release, signature
from tests.serving.reloading import make_app, reload, retrained

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
    put(home, retrained(9), make(retrained(9)))
    with pytest.raises(ModelError) as refusal:
        make_app(home, public_key=keys)
    assert str(refusal.value).startswith(f"{home}: ")
    assert reason in str(refusal.value)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_signature_replaces_nothing(case: str, home: Path, keys: Path) -> None:
    """F-09, S-30: at a reload the same files are refused, the old model goes on, and a good signature alone puts it right."""
    make, reason = WRONG[case]
    app = make_app(home, public_key=keys)
    before = ask(app, "seed=42")
    put(home, retrained(9), make(retrained(9)))
    (outcome,) = reload(app)
    assert outcome.result == "refused"
    assert reason in str(outcome.reason)
    assert ask(app, "seed=42") == before
    signature_file(home).write_text(signature(retrained(9), serial=9))
    assert reload(app)[0].result == "swapped"
    assert ask(app, "seed=42") != before


def test_nothing_in_a_file_is_looked_at_before_its_signature(home: Path, keys: Path) -> None:
    """S-30: what is no model at all is refused for its signature, by no parser."""
    put(home, b"no model", None)
    with pytest.raises(ModelError, match="a signature is needed"):
        load_model(home, "cpu", trust=Trust(keys))


def test_each_of_several_keys_is_trusted_until_it_is_taken_out(home: Path, keys: Path) -> None:
    """S-30: keys are read at every load: a new one is accepted at once along with the old, and a revoked one is refused."""
    app = make_app(home, public_key=keys)
    keys.write_bytes(pem(OTHER_KEY, KEY))
    for serial, key in ((6, KEY), (7, OTHER_KEY)):
        put_release(home, serial, key)
        assert reload(app)[0].result == "swapped"
    keys.write_bytes(pem(OTHER_KEY))
    put_release(home, 8)
    assert "by none of the 1 keys" in str(reload(app)[0].reason)
    keys.unlink()
    put_release(home, 9)
    assert "GAN_PUBLIC_KEY must be a PEM file" in str(reload(app)[0].reason)


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


@pytest.mark.process
def test_the_service_does_not_start_with_an_unsigned_model(root: Path, home: Path, keys: Path) -> None:
    """F-09: exit code 1, and one line that names the file and what is missing."""
    signature_file(home).unlink()
    ended = run_to_end(root, models=home, public_key=keys)
    assert ended.returncode == 1
    assert (
        ended.stderr == f"serving: {home}: a signature is needed, and m.onnx.sig: cannot be read: No such file or directory\n"
    )


@pytest.mark.process
def test_the_service_does_not_start_without_its_keys(root: Path, home: Path, keys: Path) -> None:
    """A wrong GAN_PUBLIC_KEY is exit code 2 and one line, before any worker is started."""
    ended = run_to_end(root, models=home, public_key=keys.with_name("none.pem"))
    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr.startswith("serving: GAN_PUBLIC_KEY must be a PEM file of ed25519 public keys, got ")
    assert ended.stderr.count("\n") == 1


@pytest.mark.process
def test_a_key_without_cryptography_is_told(root: Path, home: Path, keys: Path) -> None:
    """Where the package is not installed, the line says what to install."""
    hidden = "import sys, runpy; sys.modules['cryptography'] = None; runpy.run_module('serving', run_name='__main__')"
    ended = run_to_end(root, entry=("-c", hidden), models=home, public_key=keys)
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
