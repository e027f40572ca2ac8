"""docs/client.ipynb, executed against the real service."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.harness.service import running
from tests.serving import tiny_onnx

nbformat = pytest.importorskip("nbformat", reason="nbformat is not installed: the extra test has it")
nbclient = pytest.importorskip("nbclient", reason="nbclient is not installed: the extra test has it")
pytest.importorskip("ipykernel", reason="ipykernel is not installed: the extra test has it")


def kinds(notebook: Any) -> list[list[list[str]]]:
    """For each code cell the kinds of data of each of its outputs."""
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    return [[sorted(output.get("data", {"text": 0})) for output in cell.outputs] for cell in cells]


@pytest.mark.slow
@pytest.mark.process
@pytest.mark.filterwarnings("ignore")  # of the kernel's own packages
def test_the_notebook_runs_and_shows_what_it_was_saved_with(root: Path, tmp_path: Path) -> None:
    """Every cell runs on a service of ten classes, and gives outputs of the kinds that the saved notebook has."""
    text = (root / "docs/client.ipynb").read_text()
    saved = nbformat.reads(text, as_version=4)
    (tmp_path / "model.onnx").write_bytes(tiny_onnx.conditional())
    with running(root, models=tmp_path / "model.onnx") as server, pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(root))
        patch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
        run = nbformat.reads(text.replace("localhost:8000", f"127.0.0.1:{server.port}"), as_version=4)
        nbclient.NotebookClient(run, timeout=60).execute()
    assert [cells for cells in kinds(saved) if cells] == [
        [["text"], ["image/png", "text/plain"]],
        [["image/png", "text/plain"]],
        [["image/png", "text/plain"]],
        [["text"]],
    ]
    for cell in run.cells:
        for output in cell.get("outputs", []):
            output.get("data", {}).pop("image/jpeg", None)  # Pillow gives both; the saved notebook keeps one
    assert kinds(run) == kinds(saved)
