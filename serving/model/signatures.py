"""Signed model files: who vouches for a file, under which name and serial; checked before anything inside it is looked at.

Beside ``x.onnx`` stands ``x.onnx.sig``, five lines of text::

    gan-serve model 1
    name: cdcgan_r1-mnist5k
    serial: 7
    sha256: <64 hexadecimal digits>
    signature: <base64 of the ed25519 signature over the four lines before, each with its line feed>

The package ``cryptography`` (the extra ``signed``) is imported only where a key is used.
"""

from __future__ import annotations

import base64
import hashlib
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from serving.errors import ModelError, SettingError, shown
from serving.model.files import read_file
from serving.settings import Settings

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

HEADER = "gan-serve model 1"
"""Says what is signed, so that no signature made for another purpose can pass for one of a model."""
MAX_SERIAL = 10**15 - 1
MAX_SIGNATURE_BYTES = 4096
MAX_KEY_BYTES = 2**16

_SIGNED = re.compile(
    rf"({HEADER}\nname: ([A-Za-z0-9][A-Za-z0-9._-]{{0,63}})\nserial: (0|[1-9][0-9]{{0,14}})\nsha256: ([0-9a-f]{{64}})\n)"
    r"signature: ([A-Za-z0-9+/]{86}==)\n"
)
_PUBLIC_KEY = re.compile(rb"-----BEGIN PUBLIC KEY-----.*?-----END PUBLIC KEY-----", re.DOTALL)


@dataclass(frozen=True, kw_only=True)
class Statement:
    """What a signature vouches for."""

    name: str
    """The model's name, as its card has it."""
    serial: int
    """0..``MAX_SERIAL``; grows with every release of the model, so that an older one can be told from a newer one."""
    digest: str
    """SHA-256 of the model file."""

    def text(self) -> str:
        """The lines that are signed."""
        return f"{HEADER}\nname: {self.name}\nserial: {self.serial}\nsha256: {self.digest}\n"


def signature_file(model: Path) -> Path:
    """Where a model file's signature stands."""
    return model.with_name(f"{model.name}.sig")


def sign(statement: Statement, key: Ed25519PrivateKey) -> str:
    """The text of a signature file."""
    signature = base64.b64encode(key.sign(statement.text().encode())).decode()
    return f"{statement.text()}signature: {signature}\n"


def read_keys(path: Path) -> list[Ed25519PublicKey]:
    """The public keys in a PEM file, one after the other.

    Raises:
        SettingError: ``cryptography`` is not installed, or the file is not what it must be.
    """
    try:
        from cryptography.exceptions import UnsupportedAlgorithm
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
        from cryptography.hazmat.primitives.serialization import load_pem_public_key
    except ImportError:
        raise SettingError("GAN_PUBLIC_KEY needs the package cryptography: pip install 'gan-serve[signed]'") from None
    right = "GAN_PUBLIC_KEY must be a PEM file of ed25519 public keys"
    try:
        keys = [load_pem_public_key(block) for block in _PUBLIC_KEY.findall(read_file(path, MAX_KEY_BYTES))]
    except (ModelError, ValueError, UnsupportedAlgorithm) as error:
        raise SettingError(f"{right}, got {ascii(str(path))}: {str(error).splitlines()[0]}") from None
    found = [key for key in keys if isinstance(key, Ed25519PublicKey)]
    if not keys or len(found) != len(keys):
        raise SettingError(
            f"{right}, got {ascii(str(path))} with {len(found)} of them and {len(keys) - len(found)} of other kinds"
        )
    return found


class Trust:
    """Which model files are let in: those that one of our keys signed, and that are no older than what was let in before.

    Args:
        keys: a PEM file of public keys, read anew for every model file, so that keys can be added and revoked.
        serials: a folder that remembers the highest serial of each name; without one this object does.
        downgrade: whether an older model is let in, and its serial remembered instead.

    Raises:
        SettingError: the keys cannot be used.
    """

    def __init__(self, keys: Path, *, serials: Path | None = None, downgrade: bool = False) -> None:
        read_keys(keys)
        self._keys = keys
        self._serials: Serials = Serials(serials)
        self._downgrade = downgrade

    def check(self, model: Path, data: bytes) -> Statement:
        """What is vouched for about these bytes, which were read from this file.

        Raises:
            ModelError: there is no signature, it is nobody's whom we trust, or it is another file's.
        """
        try:
            keys = read_keys(self._keys)
        except SettingError as error:
            raise ModelError(str(error)) from None
        statement = _read_signed(signature_file(model), keys)
        digest = hashlib.sha256(data).hexdigest()
        if statement.digest != digest:
            raise ModelError(
                f"the signature is for a file with SHA-256 {statement.digest[:12]}..., this one has {digest[:12]}..."
            )
        return statement

    def admit(self, statement: Statement, name: str) -> None:
        """Let a model of this name in, and remember its serial.

        Raises:
            ModelError: the signature names another model, or a newer one has been let in before.
        """
        if statement.name != name:
            raise ModelError(f"the signature is for a model called {statement.name!r}, the card says {name!r}")
        highest = self._serials.highest(name)
        if statement.serial < highest and not self._downgrade:
            raise ModelError(
                f"serial {statement.serial} is older than {highest}, which was let in before; GAN_DOWNGRADE=on allows it"
            )
        if statement.serial != highest:
            self._serials.remember(name, statement.serial)


def trust_of(settings: Settings) -> Trust | None:
    """What the settings ask for; None where any model file is let in.

    Raises:
        SettingError: the keys cannot be used.
    """
    if settings.public_key is None:
        return None
    return Trust(settings.public_key, serials=settings.serials, downgrade=settings.downgrade)


def _read_signed(path: Path, keys: Sequence[Ed25519PublicKey]) -> Statement:
    from cryptography.exceptions import InvalidSignature

    try:
        text = read_file(path, MAX_SIGNATURE_BYTES).decode("ascii", "replace")
    except ModelError as error:
        raise ModelError(f"a signature is needed, and {path.name}: {error}") from None
    found = _SIGNED.fullmatch(text)
    if found is None:
        raise ModelError(f"{path.name} must be the five lines of a signature, got {shown(text.partition(chr(10))[0])}")
    signed, name, serial, digest, signature = found.groups()
    for key in keys:
        try:
            key.verify(base64.b64decode(signature), signed.encode())
            return Statement(name=name, serial=int(serial), digest=digest)
        except InvalidSignature:
            continue
    raise ModelError(f"{path.name} was made by none of the {len(keys)} keys of GAN_PUBLIC_KEY, or was changed since")


class Serials:
    """The highest serial that was let in for each name; in a folder, where other workers and the next start see it, too."""

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder
        self._here: dict[str, int] = {}

    def highest(self, name: str) -> int:
        """0 where nothing is known.

        Raises:
            ModelError: what the folder holds is no serial, or cannot be read.
        """
        if self._folder is None:
            return self._here.get(name, 0)
        path = self._folder / f"{name}.serial"
        if not path.exists():
            return 0
        text = read_file(path, MAX_SIGNATURE_BYTES).decode("ascii", "replace")
        if not re.fullmatch(r"[0-9]{1,15}\n", text):
            raise ModelError(f"{path} must hold a serial, got {shown(text)}")
        return int(text)

    def remember(self, name: str, serial: int) -> None:
        """From now on.

        Raises:
            ModelError: the folder cannot be written; what cannot be remembered is not let in.
        """
        if self._folder is None:
            self._here[name] = serial
            return
        partial = self._folder / f".{name}.{os.getpid()}"
        try:
            self._folder.mkdir(exist_ok=True)
            partial.write_text(f"{serial}\n")
            partial.replace(self._folder / f"{name}.serial")
        except OSError as error:
            raise ModelError(f"GAN_SERIALS: {self._folder} cannot be written: {error.strerror}") from None
