"""Write the signature of a model file, MODEL.onnx.sig, which the service checks if GAN_PUBLIC_KEY is set."""

from __future__ import annotations

import argparse
import hashlib
import os
import re
import sys
from collections.abc import Sequence
from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from contract import Card, CardError, card_from_metadata
from serving.errors import ModelError, StartError
from serving.model.files import read_file, replace_file
from serving.model.onnx_file import read_contents
from serving.model.signatures import MAX_KEY_BYTES, MAX_SERIAL, Statement, sign, signature_file


class SigningError(Exception):
    """Nothing was signed; the message is one line."""


def main(arguments: Sequence[str]) -> int:
    """Sign one file; the exit code."""
    parser = argparse.ArgumentParser(prog="python -m deploy.release.sign", description=__doc__, allow_abbrev=False)
    parser.add_argument("model", type=Path, metavar="MODEL.onnx", help="model file")
    parser.add_argument("--key", type=Path, required=True, metavar="KEY.pem", help="ed25519 private key, not encrypted")
    parser.add_argument(
        "--serial", type=serial_of, required=True, metavar="N", help="serial of the model, higher than in every earlier release"
    )
    asked = parser.parse_args(arguments)
    try:
        key = read_private_key(asked.key)
        check_serial(asked.serial)
        print(sign_file(asked.model, key, asked.serial, check_model(asked.model)))
        return 0
    except SigningError as error:
        print(f"sign: {error}", file=sys.stderr)
        return 1


def sign_file(model: Path, key: Ed25519PrivateKey, serial: int, digest: str) -> Path:
    """Write a model's signature next to it, whole or not at all; return its path.

    Args:
        model: the model file.
        key: what signs.
        serial: serial of the model.
        digest: SHA-256 of the file that was checked.

    Raises:
        SigningError: the file cannot be read, is not the one that was checked or has no card, the serial is out of its range,
            or the signature cannot be written.
    """
    check_serial(serial)
    try:
        data = model.read_bytes()
    except OSError as error:
        raise SigningError(f"{model} cannot be read: {error.strerror}") from None
    if hashlib.sha256(data).hexdigest() != digest:
        raise SigningError(f"{model} was replaced after it was checked; run it again")
    text = sign(Statement(name=card_of(data).name, serial=serial, digest=digest), key)
    path = signature_file(model)
    try:
        replace_file(path, text)
    except OSError as error:
        raise SigningError(f"{path} cannot be written: {error.strerror}") from None
    return path


def check_model(model: Path) -> str:
    """Load a model on the CPU as the service does, with its self-test; its SHA-256.

    Raises:
        SigningError: it cannot be read, or the service would refuse it.
    """
    from serving.model.load import load_model  # not above: onnxruntime writes into TMPDIR when it is imported

    try:
        os.close(os.open(model, os.O_RDONLY | os.O_NONBLOCK))  # a pipe would block
        return load_model(model, "cpu").digest
    except OSError as error:
        raise SigningError(f"{model} cannot be read: {error.strerror}") from None
    except StartError as error:
        raise SigningError(f"no model that could be served: {error}") from None


def serial_of(text: str) -> int:
    """The serial in an argument: ASCII digits, where ``int`` takes those of all scripts, underscores and spaces, too.

    Raises:
        ArgumentTypeError: it is no number.
    """
    if not re.fullmatch("-?[0-9]{1,99}", text):
        raise argparse.ArgumentTypeError(f"a serial must be 0..{MAX_SERIAL}, got {ascii(text)}")
    return int(text)


def check_serial(serial: int) -> None:
    """Check that a serial can be signed.

    Raises:
        SigningError: it is out of its range.
    """
    if not 0 <= serial <= MAX_SERIAL:
        raise SigningError(f"a serial must be 0..{MAX_SERIAL}, got {serial}")


def card_of(data: bytes) -> Card:
    """The card in the bytes of a model file.

    Raises:
        SigningError: there is none.
    """
    try:
        return card_from_metadata(read_contents(data).metadata)
    except (ModelError, CardError) as error:
        raise SigningError(f"no model that could be served: {error}") from None


def read_private_key(path: Path) -> Ed25519PrivateKey:
    """The private key in a PEM file.

    Raises:
        SigningError: it cannot be read, is a pipe, is encrypted, or is of another kind.
    """
    right = "the key must be an ed25519 private key in PEM, not encrypted"
    try:
        key = load_pem_private_key(read_file(path, MAX_KEY_BYTES), password=None)
    except ModelError as error:
        raise SigningError(f"{right}, got {path}: {error}") from None
    except TypeError:  # by which cryptography asks for a password
        raise SigningError(f"{right}, got {path}, which is encrypted") from None
    except (ValueError, UnsupportedAlgorithm):
        raise SigningError(f"{right}, got {path} with something else") from None
    if not isinstance(key, Ed25519PrivateKey):
        raise SigningError(f"{right}, got {path} with another kind")
    return key


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
