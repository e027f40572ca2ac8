"""Signed model files: the signature is checked before the file is parsed.

The signature of ``x.onnx`` is ``x.onnx.sig``, five lines of text::

    gan-serve model 1
    name: cdcgan_r1-mnist5k
    serial: 7
    sha256: <64 hexadecimal digits>
    signature: <base64 of the ed25519 signature over the four lines before, each with its line feed>

The package ``cryptography`` (the extra ``signed``) is imported only when a key is used.
"""

from __future__ import annotations

import base64
import fcntl
import hashlib
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from serving.errors import ModelError, SettingError, shown
from serving.model.files import read_file, replace_file
from serving.settings import Settings

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

HEADER = "gan-serve model 1"
"""Names the purpose, so that a signature made for another purpose is not accepted for a model."""
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
    """The signed statement."""

    name: str
    """The model's name, as in its card."""
    serial: int
    """0..``MAX_SERIAL``; grows with every release of the model, so that a downgrade is detected."""
    digest: str
    """SHA-256 of the model file."""

    def text(self) -> str:
        """The signed lines."""
        return f"{HEADER}\nname: {self.name}\nserial: {self.serial}\nsha256: {self.digest}\n"

    def check_name(self, name: str) -> None:
        """Raise ``ModelError`` if the card has another name."""
        if self.name != name:
            raise ModelError(f"the signature is for a model named {self.name!r}, the card has the name {name!r}")


def signature_file(model: Path) -> Path:
    """The path of a model file's signature."""
    return model.with_name(f"{model.name}.sig")


def sign(statement: Statement, key: Ed25519PrivateKey) -> str:
    """The text of a signature file."""
    signature = base64.b64encode(key.sign(statement.text().encode())).decode()
    return f"{statement.text()}signature: {signature}\n"


def read_keys(path: Path) -> list[Ed25519PublicKey]:
    """Read the public keys of a PEM file.

    Raises:
        SettingError: ``cryptography`` is not installed, or the file holds anything but such keys.
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
    """Accepts model files that are signed by a known key and not older than those accepted before.

    Args:
        keys: PEM file of public keys, read again for every model file, so that keys can be added and revoked.
        serials: folder that stores the highest serial of each name; without one they are kept in memory.
        downgrade: whether an older model is accepted; its serial is then stored instead.

    Raises:
        SettingError: the keys cannot be used.
    """

    def __init__(self, keys: Path, *, serials: Path | None = None, downgrade: bool = False) -> None:
        read_keys(keys)
        self._keys = keys
        self._serials: Serials = Serials(serials, downgrade=downgrade)

    def check(self, model: Path, data: bytes) -> Statement:
        """Check the signature of a file's bytes, and the serial; return the signed statement.

        Raises:
            ModelError: there is no signature, it was made by an unknown key, it belongs to other bytes, or a model of the same
                name with a higher serial has been in service.
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
        self._serials.check(statement.name, statement.serial)
        return statement

    def admit(self, statement: Statement) -> None:
        """Store the serial of a model that enters service.

        Raises:
            ModelError: a model with a higher serial has entered service since, or the serial cannot be stored.
        """
        self._serials.store(statement.name, statement.serial)


def trust_of(settings: Settings) -> Trust | None:
    """The trust that the settings require; None accepts any model file.

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
    """The highest serial of each name that was in service; in a folder, other workers and later starts read it, too."""

    def __init__(self, folder: Path | None, *, downgrade: bool = False) -> None:
        self._folder = folder
        self._downgrade = downgrade
        self._in_memory: dict[str, int] = {}

    def highest(self, name: str) -> int:
        """The highest serial of a name; 0 if there is none.

        Raises:
            ModelError: the stored serial is damaged or cannot be read.
        """
        if self._folder is None:
            return self._in_memory.get(name, 0)
        path = self._folder / f"{name}.serial"
        try:
            path.stat()  # `exists` hides from Python 3.14 on that a folder may not be entered
        except (FileNotFoundError, NotADirectoryError):
            return 0
        except OSError as error:
            raise ModelError(f"GAN_SERIALS: {self._folder} cannot be read: {error.strerror}") from None
        try:
            text = read_file(path, MAX_SIGNATURE_BYTES).decode("ascii", "replace")
        except ModelError as error:
            raise ModelError(f"GAN_SERIALS: {path}: {error}") from None
        if not re.fullmatch(r"[0-9]{1,15}\n", text):
            raise ModelError(f"GAN_SERIALS: {path} must hold a serial, got {shown(text)}")
        return int(text)

    def check(self, name: str, serial: int) -> int:
        """The highest serial of a name; see there.

        Raises:
            ModelError: the given serial is lower, and may not be.
        """
        highest = self.highest(name)
        if serial < highest and not self._downgrade:
            raise ModelError(f"serial {serial} is older than {highest}, which was accepted before; GAN_DOWNGRADE=on allows it")
        return highest

    def store(self, name: str, serial: int) -> None:
        """Check and store the serial of a name; processes that share the folder do so one after the other.

        Raises:
            ModelError: as ``check``, or the folder cannot be written; the model is then refused.
        """
        if self.check(name, serial) == serial:  # also in a folder that cannot be written
            return
        if self._folder is None:
            self._in_memory[name] = serial
            return
        try:
            self._folder.mkdir(exist_ok=True)
            with _locked(self._folder / ".lock"):
                if self.check(name, serial) != serial:
                    replace_file(self._folder / f"{name}.serial", f"{serial}\n")
        except OSError as error:
            raise ModelError(f"GAN_SERIALS: {self._folder} cannot be written: {error.strerror}") from None


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Hold the lock of a file, which is made if it is missing; waits for other processes.

    Raises:
        OSError: the file cannot be made or locked.
    """
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    except PermissionError:  # another user has made it
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
