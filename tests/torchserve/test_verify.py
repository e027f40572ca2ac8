"""S-15 and S-16: an archive is what this version of the project built, or it is refused; every refusal by a real zip file."""

from __future__ import annotations

import ast
import hashlib
import io
import json
import os
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from deploy.torchserve.contents import CONFIG, HANDLER, MANIFEST, MODEL, ROOT, imported, modules_behind, shipped_files
from deploy.torchserve.errors import ArchiveError
from deploy.torchserve.strict_zip import check_place
from deploy.torchserve.verify import verify, verify_file
from tests.serving import tiny_onnx
from tests.torchserve.conftest import run
from tests.torchserve.crafted import CRAFTED, Entries
from tests.torchserve.zips import Entry, changed, entries_of, with_entry, write


@pytest.fixture(scope="session")
def entries(mar: bytes) -> dict[str, Entry]:
    """What an honest archive holds."""
    return entries_of(mar)


def test_an_honest_archive_passes(root: Path, archives: Path) -> None:
    """The command says its model's name and digest, which is the model file's own."""
    digest = hashlib.sha256((archives / "conditional.onnx").read_bytes()).hexdigest()
    said = run(root, "verify", archives / "conditional.mar", "--digest", digest)
    assert f"model conditional, SHA-256 {digest}" in said


def test_the_writer_of_these_tests_is_honest(entries: Entries) -> None:
    """An archive that it writes without any change passes, so what is refused below is refused for the change."""
    assert verify(write(list(entries.values()))).name == "conditional"


def names_of(mar: bytes) -> list[str]:
    """The names in an archive."""
    with zipfile.ZipFile(io.BytesIO(mar)) as archive:
        return sorted(archive.namelist())


def test_an_archive_holds_the_listed_files_and_no_other(mar: bytes) -> None:
    """The manifest, one ONNX file, the entry point, its configuration, and modules of contract and serving."""
    names = names_of(mar)
    assert names == sorted({MANIFEST, MODEL, *shipped_files()})
    others = [name for name in names if not name.startswith(("contract/", "serving/"))]
    assert sorted(others) == sorted([MANIFEST, MODEL, HANDLER, CONFIG])


def test_no_web_framework_and_no_reader_of_pickles_is_shipped() -> None:
    """What the entry point imports leads to neither Flask nor the server, and no shipped file is a pickle."""
    names = set(shipped_files())
    assert not names & {f"serving/{name}.py" for name in ("app", "front", "launcher", "admin", "verify")}
    assert {Path(name).suffix for name in names} == {".py", ".yaml"}


def test_every_shipped_module_finds_what_it_imports() -> None:
    """The shipped files are closed under imports: whatever one of them names is one of them."""
    shipped = set(shipped_files().values())
    assert all(modules_behind(path) <= shipped for path in shipped if path.suffix == ".py")


def test_imports_are_found_wherever_they_stand() -> None:
    """In functions too, as modules and as names that may be modules."""
    source = "import serving.encoding.png\ndef f():\n    from contract import card\nimport numpy"
    assert imported(ast.parse(source)) == ["serving.encoding.png", "contract", "contract.card"]


# --------------------------------------------------------------------------------------------------- names and kinds of entries

PLACES = [
    "../x",
    "../abc-evil/x",
    "../../x",
    "contract/../../x",
    "a/../b",
    "./x",
    "a//b",
    "/abs",
    "/etc/x",
    "C:/x",
    "a\\b",
    "..\\x",
    "x\x00.py",
    "x\n",
    "serving/",
]


@pytest.mark.parametrize("name", PLACES)
def test_a_name_that_is_no_plain_place_is_refused(entries: Entries, name: str) -> None:
    """Out of the archive, absolute here or elsewhere, or a place written in another way."""
    with pytest.raises(ArchiveError, match=r"leads out|absolute|plain"):
        verify(write(with_entry(entries, name=name.encode())))


def test_a_folder_whose_name_begins_alike_is_outside() -> None:
    """``../abc-evil/x`` leaves ``abc``, although the path begins with the same letters."""
    with pytest.raises(ArchiveError, match="leads out"):
        check_place("../abc-evil/x", Path("/somewhere/abc"))
    check_place("evil/x", Path("/somewhere/abc"))


def test_python_would_be_led_out_by_comparing_prefixes() -> None:
    """Why it is not compared so: as text, the path outside begins with the folder's."""
    assert os.path.normpath("/somewhere/abc/../abc-evil/x").startswith("/somewhere/abc")


@pytest.mark.parametrize("case", CRAFTED)
def test_a_crafted_archive_is_refused(entries: Entries, case: str) -> None:
    """Each for its own reason, before anything of it is written anywhere."""
    reason, craft = CRAFTED[case]
    with pytest.raises(ArchiveError, match=reason):
        verify(craft(entries))


def test_a_hundred_thousand_entries_are_refused(tmp_path: Path) -> None:
    """As Python's own writer makes them, with a directory of 64 bits."""
    path = tmp_path / "many.mar"
    with zipfile.ZipFile(path, "w") as archive:
        for number in range(100_000):
            archive.writestr(zipfile.ZipInfo(str(number)), b"")
    with pytest.raises(ArchiveError, match="at most 200"):
        verify_file(path)


# ----------------------------------------------------------------------------------------------------- what the manifest states


def restated(entries: Entries, model: Mapping[str, Any], runtime: str = "python") -> bytes:
    """The archive with another manifest; a key of the model that is None is left out."""
    manifest = json.loads(entries[MANIFEST].content)
    stated = {key: value for key, value in {**manifest["model"], **model}.items() if value is not None}
    return write(changed(entries, MANIFEST, content=json.dumps({**manifest, "model": stated, "runtime": runtime}).encode()))


@pytest.mark.parametrize(
    ("model", "runtime", "reason"),
    [
        ({"handler": "image_classifier"}, "python", "handler must be 'gan_handler.py'"),
        ({"handler": "../gan_handler.py"}, "python", "handler must be"),
        ({"serializedFile": "weights.pth"}, "python", "serializedFile must be"),
        ({"configFile": None}, "python", "must hold exactly"),
        ({"requirementsFile": "requirements.txt"}, "python", "must hold exactly"),
        ({"modelFile": "model.py"}, "python", "must hold exactly"),
        ({}, "LSP", "runtime 'python'"),
        ({"modelVersion": "1.0"}, "python", "the manifest states '1.0'"),
        ({"modelVersion": "0" * 64}, "python", "the manifest states"),
        ({"modelName": "another"}, "python", "is called 'conditional'"),
    ],
)
def test_a_manifest_that_asks_for_something_else_is_refused(
    entries: Entries, model: dict[str, Any], runtime: str, reason: str
) -> None:
    """Another entry point, another interpreter, packages to install, another name or another digest."""
    with pytest.raises(ArchiveError, match=reason):
        verify(restated(entries, model, runtime))


@pytest.mark.parametrize("content", [b"", b"[]", b"{", b'{"model": 1}', b"\xff", b"[" * 100_000])
def test_a_manifest_that_is_none_is_refused(entries: Entries, content: bytes) -> None:
    """Whatever it is instead."""
    with pytest.raises(ArchiveError, match="is no manifest"):
        verify(write(changed(entries, MANIFEST, content=content)))


def test_a_model_without_a_card_is_refused(entries: Entries) -> None:
    """Even if its digest is the one that is stated."""
    digest = hashlib.sha256(b"weights").hexdigest()
    new = entries | {MODEL: Entry(name=MODEL.encode(), content=b"weights")}
    with pytest.raises(ArchiveError, match=MODEL):
        verify(restated(new, {"modelVersion": digest}))


def test_another_model_than_the_service_has_is_refused(root: Path, archives: Path) -> None:
    """``--digest`` says which one it must be; the line names both."""
    said = run(root, "verify", archives / "conditional.mar", "--digest", "ab" * 32, code=1)
    assert "has the SHA-256" in said
    assert f"must have {'ab' * 32}" in said


@pytest.mark.parametrize("make", [Path.mkdir, os.mkfifo])
def test_what_is_no_file_is_refused_without_waiting(tmp_path: Path, make: Callable[[Path], None]) -> None:
    """A folder, or a pipe that nobody writes to."""
    make(tmp_path / "x.mar")
    with pytest.raises(ArchiveError, match="not a regular file"):
        verify_file(tmp_path / "x.mar")


def test_a_model_may_lie_anywhere(root: Path, tmp_path: Path) -> None:
    """In a folder with commas, spaces and brackets in its name; the archive appears beside it and nothing else."""
    folder = tmp_path / "a, [b]* c"
    folder.mkdir()
    (folder / "m.onnx").write_bytes(tiny_onnx.points(1))
    run(root, "build", folder / "m.onnx")
    assert verify_file(folder / "points1.mar").name == "points1"
    assert sorted(path.name for path in folder.iterdir()) == ["m.onnx", "points1.mar"]


def test_a_file_that_is_not_there_is_told_in_one_line(root: Path, tmp_path: Path) -> None:
    """With its name, and exit code 1."""
    assert run(root, "verify", tmp_path / "none.mar", code=1).splitlines() == [
        f"torchserve: {tmp_path / 'none.mar'}: cannot be read: No such file or directory"
    ]


def test_a_model_that_breaks_its_promise_is_not_archived(root: Path, tmp_path: Path) -> None:
    """It is proven first, as the service does it; no archive and no remains are left."""
    (tmp_path / "bad.onnx").write_bytes(tiny_onnx.grey()[:-100])
    assert "torchserve: " in run(root, "build", tmp_path / "bad.onnx", code=1)
    assert [path.name for path in tmp_path.iterdir()] == ["bad.onnx"]


def test_the_shipped_files_are_the_repository_s_own() -> None:
    """Every one of them lies in this checkout."""
    assert all(path.is_relative_to(ROOT) for path in shipped_files().values())
