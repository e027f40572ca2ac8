"""The folder of TorchServe's keys, without a TorchServe: whose it is, and who may enter it."""

from __future__ import annotations

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
