"""Keys of the tests, and model files signed with them."""

from __future__ import annotations

import hashlib
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from serving.model.signatures import Statement, sign, signature_file
from tests.serving.reloading import replace_file, retrained

KEY, OTHER_KEY = Ed25519PrivateKey.from_private_bytes(bytes(32)), Ed25519PrivateKey.from_private_bytes(bytes(range(32)))


def pem(*keys: Ed25519PrivateKey | X25519PrivateKey) -> bytes:
    """The public halves of keys, as one file."""
    return b"".join(key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo) for key in keys)


def signature(data: bytes, *, name: str = "grey", serial: int = 1, key: Ed25519PrivateKey = KEY) -> str:
    """The text of a signature file for these bytes."""
    return sign(Statement(name=name, serial=serial, digest=hashlib.sha256(data).hexdigest()), key)


def put(path: Path, data: bytes, signed: str | None) -> None:
    """A model file and its signature, whole files renamed into place."""
    signature_file(path).unlink(missing_ok=True)
    if signed is not None:
        signature_file(path).write_text(signed)
    replace_file(path, data)


def put_release(path: Path, serial: int, key: Ed25519PrivateKey = KEY) -> None:
    """One of several models of one name, with weights of its own, signed with its serial."""
    data = retrained(serial)
    put(path, data, signature(data, serial=serial, key=key))
