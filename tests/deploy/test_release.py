"""What `make release` ships: the same bytes each time, all that a build and a service need, and true sums."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import re
import shutil
import subprocess
import tarfile
import zipfile
from pathlib import Path

import pytest

from contract import card_from_metadata
from deploy.release.__main__ import bundle
from deploy.release.archives import BuildError, build_wheel, context, source_date
from deploy.release.folder import ReleaseError
from deploy.release.sbom import components
from serving.model.load import load_model
from serving.model.onnx_file import read_contents
from serving.model.signatures import Trust
from tests.deploy.releasing import make_release, put_model, put_project, refused, with_flipped_bit
from tests.repository.files import ROOT, instructions

OFFLINE = re.compile(r"No matching distribution found|name resolution|Network is unreachable|Max retries exceeded")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model, and next to it ``key.pem`` and ``key.pub.pem``."""
    return put_model(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The project, committed as it is now."""
    return put_project(tmp_path_factory.mktemp("project"))


@pytest.fixture(scope="module")
def released(model: Path, project: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A whole release, signed with serial 3."""
    out = tmp_path_factory.mktemp("release") / "dist"
    done = make_release(
        "--model", model, "--runtime", "serve", "--key", model.parent / "key.pem", "--serial", 3, "--out", out, project=project
    )
    if done.returncode and OFFLINE.search(done.stderr):
        pytest.skip("needs PyPI, which cannot be reached")
    assert done.returncode == 0, done.stderr
    return out


@pytest.mark.process
@pytest.mark.slow
def test_a_release_is_whole_and_its_sums_are_true(released: Path) -> None:
    """Wheel, contexts, pins, bill and model are there, each with its SHA-256; nothing else is, not even next to the folder."""
    found = sorted(str(path.relative_to(released)) for path in released.rglob("*") if path.is_file())
    assert found == [
        "SHA256SUMS",
        "SHA256SUMS.sig",
        "gan-serve-0.1.0-serve-image.tar.gz",
        "gan-serve-0.1.0-serve.cdx.json",
        "gan-serve-0.1.0-serve.requirements.txt",
        "gan-serve-0.1.0-train-image.tar.gz",
        "gan_serve-0.1.0-py3-none-any.whl",
        "model/SHA256SUMS",
        "model/card.json",
        "model/model.onnx",
        "model/model.onnx.sig",
    ]
    for folder in (released, released / "model"):
        sums = dict(line.split("  ")[::-1] for line in (folder / "SHA256SUMS").read_text().splitlines())
        assert sums == {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in sums}
        others = {"SHA256SUMS", "SHA256SUMS.sig"}
        assert {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()} - others == sums.keys()
    assert [path.name for path in released.parent.iterdir()] == ["dist"]


@pytest.mark.process
@pytest.mark.slow
def test_two_releases_are_the_same_bytes(released: Path, model: Path, project: Path, tmp_path: Path) -> None:
    """A second run, under another umask, gives the same sums."""
    again, key = tmp_path / "dist", ("--key", model.parent / "key.pem", "--serial", 3)
    make_release("--model", model, "--runtime", "serve", *key, "--out", again, project=project, umask=0o077)
    assert (again / "SHA256SUMS").read_text() == (released / "SHA256SUMS").read_text()


@pytest.mark.process
@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("openssl"), reason="needs openssl")
def test_openssl_checks_a_whole_release(released: Path, model: Path, tmp_path: Path) -> None:
    """The commands in docs/RELEASING.md accept each file of a release, and neither changed sums nor a changed file."""
    blocks = re.findall(r"```sh\n(.*?)```", (ROOT / "docs/RELEASING.md").read_text(), re.DOTALL)
    (commands,) = [block for block in blocks if "SHA256SUMS.sig" in block]
    dist = shutil.copytree(released, tmp_path / "dist")
    shutil.copy(model.parent / "key.pub.pem", tmp_path / "release.pub.pem")

    def check() -> tuple[int, bool]:
        done = subprocess.run(["bash", "-c", commands], cwd=tmp_path, capture_output=True, text=True)
        return done.returncode, "Signature Verified Successfully" in done.stdout

    assert check() == (0, True)
    (dist / "model/card.json").write_text("{}")
    assert check() == (1, True)
    old, new = (hashlib.sha256((folder / "model/card.json").read_bytes()).hexdigest() for folder in (released, dist))
    (dist / "SHA256SUMS").write_text((dist / "SHA256SUMS").read_text().replace(old, new))
    assert check() == (1, False)


@pytest.mark.process
@pytest.mark.slow
def test_the_bundle_is_served_and_told(released: Path, model: Path) -> None:
    """A service pointed at the folder trusts it by the public key, and the card next to it is the card inside."""
    models = [load_model(released / "model/model.onnx", "cpu", trust=Trust(model.parent / "key.pub.pem"))]
    card = json.loads((released / "model/card.json").read_text())
    assert [card["name"]] == [model.card.name for model in models] == ["grey"]
    inside = card_from_metadata(read_contents((released / "model/model.onnx").read_bytes()).metadata)
    assert (card["recipe"], card["steps"]) == (inside.recipe, inside.steps)


@pytest.mark.process
@pytest.mark.slow
def test_pins_and_bill_name_the_same_packages(released: Path) -> None:
    """Every pin has a digest, is what constraints.txt allows, and stands in the bill of materials; there is no more in it."""
    lines = (released / "gan-serve-0.1.0-serve.requirements.txt").read_text().splitlines()
    pairs = [re.fullmatch(r"([a-z0-9.-]+)==(\S+) --hash=sha256:[0-9a-f]{64}", line) for line in lines]
    found = {pair[1]: pair[2] for pair in pairs if pair}
    assert len(found) == len(lines)
    assert found == components((released / "gan-serve-0.1.0-serve.cdx.json").read_text())
    pinned = dict(
        line.split(" ")[0].split("==") for line in (ROOT / "constraints.txt").read_text().splitlines() if "==" in line
    )
    assert {name: version.split("+")[0] for name, version in found.items()}.items() <= pinned.items()
    assert {"onnxruntime", "flask", "cryptography"} <= found.keys()


@pytest.mark.process
def test_a_wheel_is_built_twice_the_same(tmp_path: Path) -> None:
    """SOURCE_DATE_EPOCH dates its files, and it holds the three packages with every file of the page and no test."""
    wheels = []
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        wheels.append(
            build_wheel(ROOT, tmp_path / name, tmp_path / f"{name}-source", {**os.environ, "SOURCE_DATE_EPOCH": "1000000000"})
        )
    assert wheels[0].read_bytes() == wheels[1].read_bytes()
    assert b"serving/app.py" in wheels[0].read_bytes()
    with zipfile.ZipFile(wheels[0]) as wheel:
        held = {name for name in wheel.namelist() if name.startswith("serving/web/static/")}
    assert held == {f"serving/web/static/{file.name}" for file in (ROOT / "serving/web/static").iterdir()}
    assert b"tests/" not in wheels[0].read_bytes()


@pytest.mark.parametrize("dockerfile", ["Dockerfile.serve", "Dockerfile.train"])
def test_a_context_holds_what_its_build_copies(dockerfile: str) -> None:
    """The Dockerfile under the name that docker looks for, each thing it copies, no bytecode; the same bytes each time."""
    data = context(ROOT, dockerfile, "serve-gpu", 1_000_000_000)
    assert data == context(ROOT, dockerfile, "serve-gpu", 1_000_000_000)
    with tarfile.open(fileobj=io.BytesIO(gzip.decompress(data))) as archive:
        members = archive.getmembers()
        taken = archive.extractfile("Dockerfile")
        assert taken is not None
        assert taken.read() == (ROOT / dockerfile).read_bytes()
    assert {(m.mtime, m.uid, m.gid, m.mode, m.uname) for m in members} == {(1_000_000_000, 0, 0, 0o644, "")}
    copied = {
        name
        for keyword, rest in instructions(dockerfile)
        if keyword == "COPY" and "--from" not in rest
        for name in rest.split()[:-1]
    }
    copied.add("Dockerfile")
    assert {name for name in copied for member in members if member.name.startswith(name)} == copied
    assert [member.name for member in members if not member.name.startswith(tuple(copied))] == []
    assert not [member.name for member in members if "__pycache__" in member.name]


def test_the_date_comes_from_outside_or_from_the_commit(tmp_path: Path) -> None:
    """SOURCE_DATE_EPOCH wins; a folder without a history has one date, too, never the clock's."""
    assert source_date(ROOT, {"SOURCE_DATE_EPOCH": "7"}) == 7
    assert source_date(tmp_path, {}) == source_date(tmp_path, {}) == 315532800
    for wrong in ("", "now", "-1", "99999999999"):
        with pytest.raises(BuildError, match=f"SOURCE_DATE_EPOCH must be 0..4294967295, got '{wrong}'"):
            source_date(ROOT, {"SOURCE_DATE_EPOCH": wrong})


@pytest.mark.process
def test_a_release_without_a_model_says_how_to_make_one(tmp_path: Path) -> None:
    """One line, exit code 1, nothing written."""
    done = make_release("--model", tmp_path / "none.onnx", "--out", tmp_path / "dist")
    assert (done.returncode, done.stderr) == (
        1,
        f"release: there is no model at {tmp_path}/none.onnx: `make train` makes one\n",
    )
    assert list(tmp_path.iterdir()) == []


@pytest.mark.process
def test_a_key_needs_a_serial(model: Path, tmp_path: Path) -> None:
    """Either alone is refused before anything is built."""
    for given in (["--key", model.parent / "key.pem"], ["--serial", 3]):
        done = make_release("--model", model, "--out", tmp_path / "dist", *given)
        assert (done.returncode, done.stderr.count("\n")) == (1, 1)
        assert "a key and a serial are given together" in done.stderr


@pytest.mark.process
@pytest.mark.parametrize("has_sums", [False, True])
def test_a_folder_that_is_no_release_is_not_replaced(model: Path, tmp_path: Path, has_sums: bool) -> None:
    """Other files in the way stay, also in a folder that has sums of other files."""
    (tmp_path / "dist").mkdir()
    (tmp_path / "dist/thesis.txt").write_text("years of work")
    if has_sums:
        (tmp_path / "dist/SHA256SUMS").write_text(f"{'0' * 64}  model/model.onnx\n")
    line = refused("--model", model, "--out", tmp_path / "dist")
    assert "holds something that is no release, thesis.txt; it is not replaced" in line
    assert (tmp_path / "dist/thesis.txt").read_text() == "years of work"


@pytest.mark.process
def test_what_cannot_be_released_is_refused_first(model: Path, tmp_path: Path) -> None:
    """A file that is no model, a serial that cannot be signed, and a file in the place of the folder."""
    out, key = ("--out", tmp_path / "dist"), ("--key", model.parent / "key.pem")
    (tmp_path / "text.onnx").write_text("text")
    (tmp_path / "file").touch()
    assert "no model that could be served" in refused("--model", tmp_path / "text.onnx", *out)
    assert "a serial must be 0..999999999999999, got -1" in refused("--model", model, *key, "--serial", -1, *out)
    assert "file is a file; a release is a folder" in refused("--model", model, "--out", tmp_path / "file")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "text.onnx"]


@pytest.mark.process
def test_a_model_that_the_service_refuses_is_not_released(model: Path, tmp_path: Path) -> None:
    """One bit of a weight is flipped: the card is good, but a golden differs, so that nothing is built or signed."""
    (tmp_path / "m.onnx").write_bytes(with_flipped_bit(model.read_bytes()))
    key = ("--key", model.parent / "key.pem", "--serial", 3)
    line = refused("--model", tmp_path / "m.onnx", *key, "--out", tmp_path / "dist")
    assert re.match(r"release: no model that could be served: .*m\.onnx: .*golden seed", line)
    assert [path.name for path in tmp_path.iterdir()] == ["m.onnx"]


def test_a_model_that_is_replaced_meanwhile_is_not_released(model: Path, tmp_path: Path) -> None:
    """What is signed is the file that was checked."""
    with pytest.raises(ReleaseError, match=r"m\.onnx was replaced while the release was made; run it again"):
        bundle(tmp_path / "model", model, "0" * 64, None, None)
