"""The folder of TorchServe's keys, without a TorchServe: whose it is, and who may enter it."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from deploy.torchserve import launch
from deploy.torchserve.build import DeployError
from deploy.torchserve.contents import HERE


@pytest.fixture(autouse=True)
def server(monkeypatch: pytest.MonkeyPatch) -> None:
    """In place of TorchServe, a server that writes its keys and ends by itself, as at a port that is taken."""

    def run(command: object, folder: Path, work: Path) -> None:
        (folder / "key_file.json").write_text("keys")
        raise DeployError("TorchServe ended by itself")

    monkeypatch.setattr(launch, "why_not", lambda: None)
    monkeypatch.setattr(launch, "_build_all", lambda models, store: [])
    monkeypatch.setattr(launch, "_run", run)


def serve(folder: Path) -> str:
    """What the command says at its end."""
    with pytest.raises(DeployError) as caught:
        launch.serve([], folder, HERE / "config.properties")
    return str(caught.value)


def test_a_second_server_leaves_the_keys_of_the_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is refused before it starts; the folder is free again when the first has ended, and its keys are deleted then."""
    folder, run = tmp_path / "run", launch._run
    said: list[str] = []

    def run_two(command: object, folder: Path, work: Path) -> None:
        (folder / "key_file.json").write_text("first")
        said.append(serve(folder))
        said.append((folder / "key_file.json").read_text())

    monkeypatch.setattr(launch, "_run", run_two)
    launch.serve([], folder, HERE / "config.properties")
    assert said == [f"{folder} has the keys of a TorchServe that is running; name another folder", "first"]
    assert not (folder / "key_file.json").exists()
    monkeypatch.setattr(launch, "_run", run)
    assert serve(folder) == "TorchServe ended by itself"
    assert not (folder / "key_file.json").exists()


@pytest.mark.parametrize("mode", [0o755, 0o750, 0o701, 0o707])
def test_a_folder_that_others_may_enter_is_refused_as_it_is(tmp_path: Path, mode: int) -> None:
    """Its mode stays, and nothing is written there; a folder of mode 700 is taken."""
    folder = tmp_path / "shared"
    folder.mkdir()
    folder.chmod(mode)
    assert serve(folder) == f"{folder} is open to other users, mode {mode:o}, who could read the keys; name a new folder"
    assert (stat.S_IMODE(folder.stat().st_mode), list(folder.iterdir())) == (mode, [])
    folder.chmod(0o700)
    assert serve(folder) == "TorchServe ended by itself"


def test_a_folder_of_another_user_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its owner could read the keys."""
    user = os.geteuid()
    monkeypatch.setattr(os, "geteuid", lambda: user + 1)
    assert serve(tmp_path) == f"{tmp_path} is another user's, who could read the keys; name a new folder"


def test_a_new_folder_is_for_its_owner_only(tmp_path: Path) -> None:
    """From the start."""
    serve(tmp_path / "a/run")
    assert stat.S_IMODE((tmp_path / "a/run").stat().st_mode) == 0o700
