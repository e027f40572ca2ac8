"""The files that `python -m deploy.manifests` writes, with a program that prints objects in place of kubectl."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

import deploy.manifests.__main__ as manifests
from deploy.manifests.kustomize import applied

pytestmark = pytest.mark.process

OBJECTS = "apiVersion: v1\nkind: Service\n---\napiVersion: monitoring.coreos.com/v1\nkind: ServiceMonitor\n"


def put_kubectl(folder: Path, printed: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have each kustomization print this."""
    (folder / "printed").write_text(printed)
    (folder / "kubectl").write_text(f"#!/bin/sh\ncat '{folder}/printed'\n")
    (folder / "kubectl").chmod(0o755)
    monkeypatch.setattr(manifests, "find_kubectl", lambda: folder / "kubectl")


def test_a_second_run_writes_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each object is there once, and those of an earlier run that are no more are gone."""
    put_kubectl(tmp_path, OBJECTS, monkeypatch)
    out, name = tmp_path / "built", f"{applied()[0].replace('/', '-')}.yaml"
    assert manifests.main(out) == 0
    before = {path: path.read_text() for path in sorted(out.rglob("*.yaml"))}
    assert manifests.main(out) == 0
    assert {path: path.read_text() for path in sorted(out.rglob("*.yaml"))} == before
    for part, kind in (("kubernetes", "Service"), ("operators", "ServiceMonitor")):
        assert [document["kind"] for document in yaml.safe_load_all((out / part / name).read_text())] == [kind]
    put_kubectl(tmp_path, OBJECTS.partition("---")[0], monkeypatch)
    assert manifests.main(out) == 0
    assert [(out / part / name).exists() for part in ("kubernetes", "operators")] == [True, False]


@pytest.mark.parametrize("printed", ["", "---\n", "warning\n", "- a\n", "kind: Service\n", "a: b: c\n"])
def test_what_are_no_objects_is_not_called_built(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], printed: str
) -> None:
    """One line, exit code 1, nothing written; also for a kubectl that prints nothing."""
    put_kubectl(tmp_path, printed, monkeypatch)
    assert manifests.main(tmp_path / "built") == 1
    said = capsys.readouterr()
    line = f"{applied()[0]}: kubectl printed something else than objects of Kubernetes, or nothing\n"
    assert (said.out, said.err) == ("", line)
    assert not (tmp_path / "built").exists()


def test_a_file_in_the_place_of_the_folder_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """With exit code 2."""
    put_kubectl(tmp_path, OBJECTS, monkeypatch)
    (tmp_path / "file").touch()
    assert manifests.main(tmp_path / "file") == 2
    assert capsys.readouterr().err == f"{tmp_path}/file/kubernetes: Not a directory\n"
