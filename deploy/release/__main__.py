"""Write a release to one folder: wheel, both images' build contexts, pins, bill of materials and model, with their sums.

With a key the sums and the model are signed, each by a file of its own. The files are those of the last commit. Two runs of one
commit with the same packages installed give the same bytes. The folder appears whole or not at all.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import sys
import tempfile
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from contract import card_to_json
from deploy.release.archives import BuildError, build_wheel, check_tree, context, source_date
from deploy.release.audit import Vulnerable, audit
from deploy.release.folder import SIGNATURE, SUMS, LeftoverError, ReleaseError, check_place, replace
from deploy.release.lock import PROJECT, LockError, requirements, resolve
from deploy.release.processes import stoppable
from deploy.release.sbom import sbom
from deploy.release.sign import SigningError, card_of, check_model, check_serial, read_private_key, serial_of, sign_file

ROOT = Path(__file__).resolve().parents[2]


def main(arguments: Sequence[str], environ: Mapping[str, str]) -> int:
    """Make a release; the exit code."""
    asked = make_parser().parse_args(arguments)
    out = Path(os.path.realpath(asked.out))
    try:
        with stoppable():
            make(asked, out, environ)
    except (ReleaseError, BuildError, LockError, SigningError, Vulnerable) as error:
        print(f"release: {error}", file=sys.stderr)
        return 1
    except LeftoverError as error:
        print(f"release: {error}", file=sys.stderr)
        return 2
    except OSError as error:  # of a folder that cannot be made, renamed or written
        print(f"release: {error.filename or out}: {error.strerror}", file=sys.stderr)
        return 2
    for path in files_in(out):
        print(f"{path.stat().st_size:>12,}  {asked.out / path.relative_to(out)}")
    return 0


def make(asked: argparse.Namespace, out: Path, environ: Mapping[str, str]) -> None:
    """Make a release in a folder next to ``out``, then rename it."""
    check_place(out)
    digest = check(asked)
    commit = check_tree(ROOT)
    key = read_private_key(asked.key) if asked.key else None
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=".release-") as scratch:
        made = Path(scratch) / "made"
        made.mkdir()
        release(made, Path(scratch), asked, digest, key, environ)
        if check_tree(ROOT) != commit:
            raise ReleaseError("another commit was checked out while the release was made; run it again")
        replace(out, made, Path(f"{scratch}-old"))


def make_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m deploy.release", description=__doc__, allow_abbrev=False)
    parser.add_argument("--model", type=Path, required=True, metavar="MODEL.onnx", help="model file")
    parser.add_argument(
        "--runtime", choices=["serve", "serve-gpu"], default="serve", help="extra whose pins and bill of materials are written"
    )
    parser.add_argument("--key", type=Path, metavar="KEY.pem", help="ed25519 private key that signs the sums and the model")
    parser.add_argument(
        "--serial",
        type=serial_of,
        metavar="N",
        help="serial of the model, higher than in every earlier release; needed with --key",
    )
    parser.add_argument("--out", type=Path, default=Path("dist"), help="folder to write; an older release there is replaced")
    return parser


def check(asked: argparse.Namespace) -> str:
    """Look at what can be wrong before anything is built; the SHA-256 of the model, which the service would accept.

    Raises:
        ReleaseError: naming it, and what would be right.
        SigningError: the service would refuse the model, or the serial is out of its range.
    """
    if not asked.model.is_file():
        raise ReleaseError(f"there is no model at {asked.model}: `make train` makes one")
    if (asked.key is None) != (asked.serial is None):
        raise ReleaseError("a key and a serial are given together: SIGNING_KEY=release.pem SERIAL=7")
    if asked.serial is not None:
        check_serial(asked.serial)
    return check_model(asked.model)


def release(
    made: Path,
    scratch: Path,
    asked: argparse.Namespace,
    digest: str,
    key: Ed25519PrivateKey | None,
    environ: Mapping[str, str],
) -> None:
    """Fill the folder ``made``; what is in between goes to ``scratch``. ``digest`` is the SHA-256 of the checked model."""
    epoch = source_date(ROOT, environ)
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    stem = f"{PROJECT}-{version}"
    build_wheel(ROOT, made, scratch / "source", {**environ, "SOURCE_DATE_EPOCH": str(epoch)})
    for image in ("serve", "train"):
        (made / f"{stem}-{image}-image.tar.gz").write_bytes(context(ROOT, f"Dockerfile.{image}", asked.runtime, epoch))
    pins = resolve(ROOT, [asked.runtime, "signed", "tracing"])
    pinned = made / f"{stem}-{asked.runtime}.requirements.txt"
    pinned.write_text(requirements(pins))
    (made / f"{stem}-{asked.runtime}.cdx.json").write_text(sbom(version, pins))
    print(audit(pinned))
    bundle(made / "model", asked.model, digest, key, asked.serial)
    write_sums(made)
    if key is not None:
        (made / SIGNATURE).write_bytes(key.sign((made / SUMS).read_bytes()))


def bundle(folder: Path, model: Path, digest: str, key: Ed25519PrivateKey | None, serial: int | None) -> None:
    """A folder that the service can be pointed at: the model, its card to read, their sums, and the signature.

    Raises:
        ReleaseError: the model is not the one with the SHA-256 ``digest``, which was checked.
    """
    folder.mkdir()
    data = model.read_bytes()
    if hashlib.sha256(data).hexdigest() != digest:
        raise ReleaseError(f"{model} was replaced while the release was made; run it again")
    (folder / "card.json").write_text(json.dumps(json.loads(card_to_json(card_of(data))), indent=1) + "\n")
    (folder / "model.onnx").write_bytes(data)
    if key is not None and serial is not None:
        sign_file(folder / "model.onnx", key, serial, digest)
    write_sums(folder)


def write_sums(folder: Path) -> None:
    """``SHA256SUMS`` of all that is in a folder, for ``sha256sum -c``."""
    lines = [f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.relative_to(folder)}\n" for path in files_in(folder)]
    (folder / SUMS).write_text("".join(lines))


def files_in(folder: Path) -> list[Path]:
    """Every file below a folder, in order."""
    return sorted(path for path in folder.rglob("*") if path.is_file())


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], os.environ))
