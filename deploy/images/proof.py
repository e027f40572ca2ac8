"""Build both images without docker and check what the documentation says of them: ``make images-test``.

A Debian 12 root replaces the base image. The serving image is searched. A model is trained in the training image and served in
the serving image, with the options of `make docker-serve` and without a network. Its answers must be those of the checkout for
the same file. All files are in one temporary folder, which is deleted at the end.
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

from deploy.images.contents import faults, installed, serving_faults
from deploy.images.packages import packages_folder, pip_settings, private_words
from deploy.images.podman import BASE, Container, Podman, PodmanError
from deploy.release.archives import context, source_date
from deploy.release.lock import LockError, resolve
from deploy.release.sbom import components, sbom
from deploy.release.sign import check_model, sign_file
from serving.settings import Settings

ROOT = Path(__file__).resolve().parents[2]
PROGRAMS = ("podman", "runc", "mmdebstrap", "mount")
FREE_BYTES = 15 * 10**9
SERVE_LIMIT = 500 * 10**6
"""Largest size of the serving image for CPUs, in bytes."""
USER = "65532"
CAPABILITY_SETS = ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")
TRAIN = ".venv/bin/python -m training train cdcgan_r1 --data digits --steps 5 --out runs/proof"
"""The smallest training that ends in pictures: 8x8 digits from a package that is in the image."""
ASKED = (
    "/generate?seed=42",
    "/generate?seed=0&n=16&scale=4",
    "/generate?seed=7&n=64&format=npy",
    "/generate?seed=1&format=webp",
    "/walk?from=1&to=2&frames=5&format=apng",
    "/mix?a=1&b=2&t=.3",
)
SIGNED = "--env=GAN_PUBLIC_KEY=/models/keys.pem"


class ProofError(Exception):
    """A claim does not hold; the message says which."""


def main(arguments: Sequence[str], environ: Mapping[str, str]) -> int:
    """Check everything; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m deploy.images.proof", description=__doc__, allow_abbrev=False)
    parser.add_argument("--mirror", default="http://deb.debian.org/debian", help="address of the mirror of Debian")
    parser.add_argument("--keep-log", type=Path, metavar="FILE", help="file to which the log of the builds is copied")
    asked = parser.parse_args(arguments)
    # SystemExit lets the with blocks remove mounts and the temporary folder.
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    with tempfile.TemporaryDirectory(prefix="gan-images-") as scratch:
        lack = missing(Path(scratch))
        if lack:
            print(f"images-test cannot run here: {lack}", file=sys.stderr)
            return 1
        os.nice(15)
        os.umask(0o022)
        try:
            prove(Path(scratch), asked.mirror, environ)
        except (PodmanError, LockError, ProofError) as error:
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
        return f"there is no {', '.join(absent)} (Debian: apt-get install podman runc mmdebstrap)."
    free = shutil.disk_usage(scratch).free
    return "" if free >= FREE_BYTES else f"{scratch.parent} has {free:,} bytes free, and {FREE_BYTES:,} are needed (TMPDIR=)."


def prove(scratch: Path, mirror: str, environ: Mapping[str, str]) -> None:
    """Build, search, train, serve, compare."""
    podman = Podman(scratch / "podman", scratch / "log")
    settings = pip_settings(environ)
    models = scratch / "models"
    try:
        build(podman, scratch, mirror, settings)
        search(podman, private_words(settings))
        compare_bill(podman.root("serve"))
        train(podman, scratch, models)
        sign_model(models)
        serve(podman, models)
        refuse_unsigned(podman, models)
    finally:
        podman("image", "umount", "--all")


def show(line: str) -> None:
    """Print one line of the proof at once."""
    print(line, flush=True)


def build(podman: Podman, scratch: Path, mirror: str, settings: Mapping[str, str]) -> None:
    """Build the base and both images, from the build contexts of a release."""
    podman.import_debian(mirror)
    sizes = {"base": podman.inspect(BASE)["Size"]}
    show(f"built    base   {megabytes(sizes['base'])}, Debian 12 by mmdebstrap")
    (scratch / "packages").mkdir()
    with packages_folder(scratch / "packages", settings) as packages:
        for image in ("serve", "train"):
            folder = scratch / f"context-{image}"
            folder.mkdir()
            data = context(ROOT, f"Dockerfile.{image}", "serve", source_date(ROOT, os.environ))
            subprocess.run(["tar", "-xz", "-C", str(folder)], input=data, check=True)
            podman.build(image, folder, packages)
            sizes[image] = podman.inspect(image)["Size"]
            show(f"built    {image}  {megabytes(sizes[image])}, from its build context in the release")
    expect(sizes["serve"] < SERVE_LIMIT, f"the serving image must be below {megabytes(SERVE_LIMIT)}")


def megabytes(count: int) -> str:
    """A size as docker writes it."""
    return f"{count / 1e6:,.0f} MB"


def expect(holds: bool, claim: str) -> None:
    """Check a claim.

    Raises:
        ProofError: it does not hold.
    """
    if not holds:
        raise ProofError(claim)


def search(podman: Podman, words: Sequence[str]) -> None:
    """Check what is in the images, and what is not."""
    found = serving_faults(podman.root("serve"))
    for image in ("serve", "train"):
        facts = podman.inspect(image)
        history = "\n".join(step.get("created_by", "") for step in facts["History"])
        found += [f"{image}: {fault}" for fault in faults(podman.root(image), history, words)]
        expect(facts["User"] == f"{USER}:{USER}", f"{image} must run as {USER}:{USER}, runs as {facts['User']}")
    expect(not found, "; ".join(found[:20]))
    show("proven   serve holds no training framework, compiler, installer or test")
    show("proven   neither image has a setuid or setgid file, a download, or a word of where its packages came from")


def compare_bill(serve_root: Path) -> None:
    """Check that the bill of materials of a release is what ``pip freeze`` finds in the image."""
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    billed, found = components(sbom(version, resolve(ROOT, ["serve", "signed", "tracing"]))), installed(serve_root)
    expect(billed == found, f"the bill of materials and the image differ: {sorted(set(billed.items()) ^ set(found.items()))}")
    show(f"proven   the bill of materials is what pip freeze finds in serve: {len(found)} packages")


def train(podman: Podman, scratch: Path, models: Path) -> None:
    """Train a few steps in the training image, without a network; copy the model to ``models``."""
    runs = scratch / "runs"
    runs.mkdir()
    os.chown(runs, int(USER), int(USER))
    done = podman.run("train", {runs: "/app/runs:rw"}, TRAIN.split())
    expect(done.returncode == 0, f"training ended with exit code {done.returncode}: {(done.stdout + done.stderr)[-2000:]}")
    models.mkdir()
    shutil.copy(runs / "proof/model.onnx", models)
    show(f"proven   train: {TRAIN} as {USER}, root read-only, no capability, no network")


def sign_model(models: Path) -> None:
    """Sign the model with a new key; its public half lies in the same folder."""
    key = Ed25519PrivateKey.generate()
    model = models / "model.onnx"
    sign_file(model, key, 1, check_model(model))
    (models / "keys.pem").write_bytes(key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))


def serve(podman: Podman, models: Path) -> None:
    """Serve the signed model in the serving image: confined, healthy, and with the same bytes as the checkout."""
    with podman.service("serve", {models: "/models:ro"}, SIGNED) as container:
        check_rights(container)
        podman("healthcheck", "run", container.id)
        inside = {path: container.get(path) for path in ASKED}
        code = container.stop()
    expect(code == 0, f"SIGTERM must end the service with exit code 0, got {code}")
    show(f"proven   serve: a signed model as {USER}, root read-only, no capability, no network; healthy, and SIGTERM ends it")
    from serving.app import create_app  # not above: onnxruntime writes into TMPDIR, also where nothing can be proven

    settings = Settings(models=(str(models / "model.onnx"),), provider="cpu")
    client = create_app(settings, log=lambda event, **facts: None).flask.test_client()
    different = [path for path in ASKED if client.get(path).data != inside[path]]
    expect(not different, f"answers differ from those of the checkout: {', '.join(different)}")
    size = sum(map(len, inside.values()))
    show(f"proven   {len(ASKED)} answers ({size:,} bytes) are byte for byte those of the checkout")


def check_rights(container: Container) -> None:
    """Check that no process in the container has a right, and that nothing can be written even by root."""
    rights: dict[str, set[str]] = {}
    for line in container.execute("sh", "-c", "cat /proc/[0-9]*/status").stdout.decode().splitlines():
        name, _, value = line.partition(":")
        rights.setdefault(name, set()).update(value.split())
    expect(rights["Uid"] == rights["Gid"] == {USER}, f"every process must be {USER}, is {rights['Uid']}, {rights['Gid']}")
    expect(all(rights[name] == {"0" * 16} for name in CAPABILITY_SETS), "no process may have a capability")
    expect(rights["NoNewPrivs"] == {"1"}, "no process may gain rights")
    for folder in ("/", "/app", "/venv", "/models", "/etc"):
        tried = container.execute("touch", f"{folder}/x", user="0")
        expect(b"Read-only file system" in tried.stderr, f"{folder} must be read-only even for root: {tried.stderr!r}")
    interfaces = container.execute("ls", "/sys/class/net").stdout.split()
    expect(interfaces == [b"lo"], f"there must be no network but a loopback, is {interfaces}")


def refuse_unsigned(podman: Podman, models: Path) -> None:
    """Check that the image does not start with the model when its signature is missing."""
    (models / "model.onnx.sig").unlink()
    done = podman.run("serve", {models: "/models:ro"}, (), SIGNED)
    said = done.stdout + done.stderr
    expect(done.returncode == 1 and "a signature is needed" in said, f"an unsigned model must be refused: {said[-500:]}")
    show("proven   serve refuses the model without its signature, with exit code 1")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], os.environ))
