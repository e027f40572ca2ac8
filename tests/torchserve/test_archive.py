"""An archive holds the model, the handler, and the modules that the handler imports; nothing else."""

from __future__ import annotations

import ast
import hashlib
import io
import json
import zipfile
from pathlib import Path

import pytest

from deploy.torchserve.contents import CONFIG, HANDLER, MANIFEST, MODEL, ROOT, imported, modules_behind, shipped_files
from tests.serving import tiny_onnx
from tests.torchserve.conftest import run


def names_of(mar: bytes) -> list[str]:
    """Names of an archive's entries."""
    with zipfile.ZipFile(io.BytesIO(mar)) as archive:
        return sorted(archive.namelist())


@pytest.mark.process
def test_an_archive_holds_the_listed_files_and_no_other(mar: bytes) -> None:
    """The manifest, one ONNX file, the handler, its configuration, and modules of contract and serving."""
    names = names_of(mar)
    assert names == sorted({MANIFEST, MODEL, *shipped_files()})
    others = [name for name in names if not name.startswith(("contract/", "serving/"))]
    assert sorted(others) == sorted([MANIFEST, MODEL, HANDLER, CONFIG])


@pytest.mark.process
def test_an_archive_holds_this_checkout_s_code_and_the_model_s_digest(mar: bytes, archives: Path) -> None:
    """Each code file is equal to the checkout's; the archive's version is the model's SHA-256."""
    digest = hashlib.sha256((archives / "conditional.onnx").read_bytes()).hexdigest()
    with zipfile.ZipFile(io.BytesIO(mar)) as archive:
        assert {name: archive.read(name) for name in shipped_files()} == {
            name: path.read_bytes() for name, path in shipped_files().items()
        }
        stated = json.loads(archive.read(MANIFEST))["model"]
    assert (stated["modelName"], stated["modelVersion"], stated["handler"]) == ("conditional", digest, HANDLER)
    assert "requirementsFile" not in stated


@pytest.mark.slow
def test_no_web_framework_and_no_pickle_is_shipped() -> None:
    """The handler's imports lead neither to Flask nor to the server, and no shipped file is a pickle."""
    names = set(shipped_files())
    assert not [name for name in names if name.startswith(("serving/app.py", "serving/http/asgi.py", "serving/process/"))]
    assert {Path(name).suffix for name in names} == {".py", ".yaml"}


@pytest.mark.slow
def test_every_shipped_module_finds_what_it_imports() -> None:
    """The shipped files are closed under imports and lie in this checkout."""
    shipped = set(shipped_files().values())
    assert all(modules_behind(path) <= shipped for path in shipped if path.suffix == ".py")
    assert all(path.is_relative_to(ROOT) for path in shipped)


def test_imports_in_functions_are_found() -> None:
    """``from package import name`` may mean a module."""
    source = "import serving.encoding.png\ndef f():\n    from contract import card\nimport numpy"
    assert imported(ast.parse(source)) == ["serving.encoding.png", "contract", "contract.card"]


@pytest.mark.process
def test_a_model_may_lie_anywhere(root: Path, tmp_path: Path) -> None:
    """Its folder's name may hold commas, spaces and brackets; the archive is the only new file there."""
    folder = tmp_path / "a, [b]* c"
    folder.mkdir()
    (folder / "m.onnx").write_bytes(tiny_onnx.points(1))
    run(root, "build", folder / "m.onnx")
    assert names_of((folder / "points1.mar").read_bytes()) == sorted({MANIFEST, MODEL, *shipped_files()})
    assert sorted(path.name for path in folder.iterdir()) == ["m.onnx", "points1.mar"]


@pytest.mark.process
def test_a_model_that_breaks_its_promise_is_not_archived(root: Path, tmp_path: Path) -> None:
    """The build fails with one line and leaves no file."""
    (tmp_path / "bad.onnx").write_bytes(tiny_onnx.grey()[:-100])
    (line,) = run(root, "build", tmp_path / "bad.onnx", code=1).splitlines()
    assert line.startswith(f"torchserve: {tmp_path / 'bad.onnx'}: ")
    assert [path.name for path in tmp_path.iterdir()] == ["bad.onnx"]


@pytest.mark.process
def test_a_folder_that_cannot_be_written_is_one_line(root: Path, archives: Path, tmp_path: Path) -> None:
    """Here a file in the place of the folder."""
    (tmp_path / "file").touch()
    line = run(root, "build", archives / "colour.onnx", "--out", tmp_path / "file", code=1)
    assert line == f"torchserve: {tmp_path}/file: File exists\n"
