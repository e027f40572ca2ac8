"""``make images-test``: builds both images without a docker engine and proves that they do what is promised of them.

A Debian 12 root stands in for the base image. The serving image is looked through, a model is trained in the training image,
and served in the serving image without a right, a network or a place to write; its answers must be those of the same file
outside. Everything lies in one temporary folder, which is deleted at the end.
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from deploy.images.container import CAPABILITY_SETS, Container, ContainerError, Mount, run, running
from deploy.images.contents import faults, installed, serving_faults
from deploy.images.outside import answers_outside
from deploy.images.packages import packages_folder, pip_settings, private_words
from deploy.images.store import BASE, BuildError, Store
from deploy.release.archives import context, source_date
from deploy.release.lock import LockError, resolve
from deploy.release.sbom import components, sbom
from deploy.release.sign import sign_file

ROOT = Path(__file__).resolve().parents[2]
PROGRAMS = ("buildah", "debootstrap", "unshare", "nsenter", "setpriv", "ip", "curl", "mount")
FREE_BYTES = 15 * 10**9
SERVE_LIMIT = 500 * 10**6
"""Bytes that the CPU's serving image may have."""
USER = "65532"
RECIPE = ("RECIPE=cdcgan_r1", "DATA=digits", "STEPS=5", "OUT=runs/proof")
"""The smallest training that ends in pictures: 8x8 digits from a package that is in the image."""
ASKED = (
    "/generate?seed=42",
    "/generate?seed=0&n=16&scale=4",
    "/generate?seed=7&n=64&format=npy",
    "/generate?seed=1&format=webp",
    "/walk?from=1&to=2&frames=5&format=apng",
    "/mix?a=1&b=2&t=.3",
)


class ProofError(Exception):
    """Something is not as promised; the message says what."""


def main(arguments: Sequence[str], environ: Mapping[str, str]) -> int:
    """Prove it all; the exit code."""
    parser = argparse.ArgumentParser(prog="python -m deploy.images.proof", description=__doc__, allow_abbrev=False)
    parser.add_argument("--mirror", default="http://deb.debian.org/debian", help="where debootstrap gets Debian from")
    parser.add_argument("--keep-log", type=Path, metavar="FILE", help="where a copy of what the builds said is left")
    asked = parser.parse_args(arguments)
    signal.signal(
        signal.SIGTERM, lambda number, frame: sys.exit(128 + number)
    )  # so that what was mounted and made is taken away
    with tempfile.TemporaryDirectory(prefix="gan-images-") as scratch:
        lack = missing(Path(scratch))
        if lack:
            print(f"images-test cannot run here: {lack}", file=sys.stderr)
            return 1
        os.nice(15)
        os.umask(0o022)
        try:
            prove(Path(scratch), asked.mirror, environ)
        except (BuildError, ContainerError, LockError, ProofError) as error:
            print(f"images-test: {error}", file=sys.stderr)
            return 1
        finally:
            if asked.keep_log and (Path(scratch) / "log").exists():
                shutil.copy(Path(scratch) / "log", asked.keep_log)
    return 0


def missing(scratch: Path) -> str:
    """What this machine lacks, as one sentence; empty if it lacks nothing."""
    if not sys.platform.startswith("linux") or os.geteuid() != 0:
        return "it needs root on Linux, for chroot, mount and namespaces."
    absent = [name for name in PROGRAMS if shutil.which(name) is None]
    if absent:
        return f"there is no {', '.join(absent)} (Debian: apt-get install buildah debootstrap util-linux iproute2 curl)."
    free = shutil.disk_usage(scratch).free
    return "" if free >= FREE_BYTES else f"{scratch.parent} has {free:,} bytes free, and {FREE_BYTES:,} are needed (TMPDIR=)."


def prove(scratch: Path, mirror: str, environ: Mapping[str, str]) -> None:
    """Build, look through, train, serve, compare."""
    store = Store(scratch / "store", scratch / "log")
    settings = pip_settings(environ)
    words = private_words(settings)
    build(store, scratch, mirror, settings)
    serve_root, train_root = store.root("serve"), store.root("train")
    look_through(store, serve_root, train_root, words)
    compare_bill(serve_root)
    models = scratch / "models"
    train(store, train_root, scratch, models)
    sign_model(models)
    serve(store, serve_root, scratch, models)
    refuse_unsigned(store, serve_root, scratch, models)


def tell(what: str) -> None:
    """One line of the proof, when it is done."""
    print(what, flush=True)


def build(store: Store, scratch: Path, mirror: str, settings: Mapping[str, str]) -> None:
    """The base and both images, from the files that a release ships for them."""
    (scratch / "packages").mkdir()
    (scratch / "store").mkdir()
    store.make_base(mirror)
    tell(f"built    base   {megabytes(store.bytes(BASE))}, Debian 12 by debootstrap")
    with packages_folder(scratch / "packages", settings) as packages:
        for image in ("serve", "train"):
            folder = scratch / f"context-{image}"
            (scratch / "context.tar.gz").write_bytes(context(ROOT, f"Dockerfile.{image}", source_date(ROOT, os.environ)))
            folder.mkdir()
            subprocess.run(["tar", "-xzf", str(scratch / "context.tar.gz"), "-C", str(folder)], check=True)
            store.build(image, folder, packages, {"BASE": BASE, "RUNTIME": "serve"})
            tell(f"built    {image}  {megabytes(store.bytes(image))}, from its build context in the release")
    expect(store.bytes("serve") < SERVE_LIMIT, f"the serving image must be below {megabytes(SERVE_LIMIT)}")


def megabytes(count: int) -> str:
    """As docker writes sizes."""
    return f"{count / 1e6:,.0f} MB"


def expect(holds: bool, claim: str) -> None:
    """Go on only if it holds.

    Raises:
        ProofError: with the claim.
    """
    if not holds:
        raise ProofError(claim)


def look_through(store: Store, serve_root: Path, train_root: Path, words: Sequence[str]) -> None:
    """What is in the images, and what is not."""
    found = serving_faults(serve_root)
    for name, root in (("serve", serve_root), ("train", train_root)):
        config = store.config(name)
        found += [f"{name}: {fault}" for fault in faults(root, config.history, words)]
        expect(config.user == f"{USER}:{USER}", f"{name} must run as {USER}:{USER}, runs as {config.user}")
    expect(not found, "; ".join(found[:20]))
    tell("proven   serve holds no training framework, compiler, installer or test")
    tell("proven   neither image has a setuid or setgid file, a download, or a word of where its packages came from")


def compare_bill(serve_root: Path) -> None:
    """The bill of materials that a release ships is what ``pip freeze`` finds in the image."""
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    billed, found = components(sbom(version, resolve(ROOT, ["serve", "signed", "tracing"]))), installed(serve_root)
    expect(billed == found, f"the bill of materials and the image differ: {sorted(set(billed.items()) ^ set(found.items()))}")
    tell(f"proven   the bill of materials is what pip freeze finds in serve: {len(found)} packages")


def train(store: Store, root: Path, scratch: Path, models: Path) -> None:
    """A few steps in the training image, without a network; the model is put into ``models``."""
    runs = scratch / "runs"
    runs.mkdir()
    os.chown(runs, int(USER), int(USER))
    done = run(root, store.config("train"), [Mount(runs, "/app/runs", "rw")], ["make", "train", *RECIPE])
    expect(done.returncode == 0, f"training ended with exit code {done.returncode}: {(done.stdout + done.stderr)[-2000:]}")
    models.mkdir()
    shutil.copy(runs / "proof/model.onnx", models)
    tell(f"proven   train: make train {' '.join(RECIPE)} as {USER}, root read-only, no capability, no network")


def sign_model(models: Path) -> None:
    """A key of this proof signs the model; its public half is next to it."""
    key = Ed25519PrivateKey.generate()
    sign_file(models / "model.onnx", key, 1)
    (models / "keys.pem").write_bytes(key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))


def serve(store: Store, root: Path, scratch: Path, models: Path) -> None:
    """The serving image with the signed model: confined, healthy, and with the same bytes as outside."""
    config = store.config("serve")
    config.environment["GAN_PUBLIC_KEY"] = "/models/keys.pem"
    with running(root, config, [Mount(models, "/models")], scratch / "log") as container:
        container.wait_until_ready()
        check_rights(container)
        inside = {path: container.get(path) for path in ASKED}
        ended = container.stop()
    expect(ended == 0, f"SIGTERM must end the service with exit code 0, got {ended}")
    tell(f"proven   serve: a signed model as {USER}, root read-only, no capability, no network; healthy, and SIGTERM ends it")
    outside = answers_outside(ROOT, models / "model.onnx", ASKED, scratch / "log")
    different = [path for path in ASKED if inside[path] != outside[path]]
    expect(not different, f"answers differ from those outside the image: {', '.join(different)}")
    tell(
        f"proven   {len(ASKED)} answers ({sum(map(len, inside.values())):,} bytes) are byte for byte those of the model outside"
    )


def check_rights(container: Container) -> None:
    """No process has a right, nothing can be written, and the image's own health check passes."""
    rights = container.rights()
    expect(rights["Uid"] == rights["Gid"] == {USER}, f"every process must be {USER}, is {rights['Uid']}, {rights['Gid']}")
    expect(all(rights[name] == {"0" * 16} for name in CAPABILITY_SETS), f"no process may have a capability: {rights}")
    expect(rights["NoNewPrivs"] == {"1"}, "no process may gain rights")
    for folder in ("/", "/app", "/venv", "/models", "/etc"):
        tried = container.inside("touch", f"{folder}/x")
        expect(b"Read-only file system" in tried.stderr, f"{folder} must be read-only even for root: {tried.stderr!r}")
    check = container.config.healthcheck
    expect(check[:1] == ["CMD"] and container.inside(*check[1:]).returncode == 0, "the health check must pass")


def refuse_unsigned(store: Store, root: Path, scratch: Path, models: Path) -> None:
    """The same image with the same model does not start when the signature is gone."""
    (models / "model.onnx.sig").unlink()
    config = store.config("serve")
    config.environment["GAN_PUBLIC_KEY"] = "/models/keys.pem"
    done = run(root, config, [Mount(models, "/models")], config.command)
    expect(
        done.returncode == 1 and "a signature is needed" in done.stderr,
        f"an unsigned model must be refused: {done.stderr[-500:]}",
    )
    tell("proven   serve refuses the model without its signature, with exit code 1")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], os.environ))
