"""Contents of an archive: the model, TorchServe's handler, and the service's modules that the handler imports."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from functools import cache
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
PACKAGES = ("contract", "serving")

MANIFEST = "MAR-INF/MANIFEST.json"
MODEL = "model.onnx"
HANDLER = "gan_handler.py"
CONFIG = "model-config.yaml"


@cache
def shipped_files() -> Mapping[str, Path]:
    """Map names in the archive to the files of this checkout that every archive holds."""
    return {HANDLER: HERE / HANDLER, CONFIG: HERE / CONFIG} | {
        str(path.relative_to(ROOT)): path for path in sorted(modules_behind(HERE / HANDLER))
    }


def modules_behind(path: Path) -> set[Path]:
    """Files of the shipped packages that a file imports, directly or indirectly, at module level or in functions."""
    found: set[Path] = set()
    waiting = [path]
    while waiting:
        for module in imported(ast.parse(waiting.pop().read_text())):
            new = _files_of(module) - found
            found |= new
            waiting.extend(new)
    return found


def imported(tree: ast.AST) -> list[str]:
    """Names of the shipped packages' modules that source imports; ``from a.b import c`` may also mean ``a.b.c``."""
    names = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names += [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
    return [name for name in names if name.split(".")[0] in PACKAGES]


def _files_of(module: str) -> set[Path]:
    """The file of a module and the ``__init__.py`` of each package around it, where they exist."""
    parts = module.split(".")
    folders = [ROOT.joinpath(*parts[: i + 1]) for i in range(len(parts))]
    candidates = [folder / "__init__.py" for folder in folders] + [folders[-1].with_suffix(".py")]
    return {candidate for candidate in candidates if candidate.is_file()}
