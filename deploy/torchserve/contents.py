"""What an archive holds: the model, TorchServe's entry point, and those of the service's own modules that it imports."""

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
    """By name in the archive, the files of this checkout that every archive holds, whatever its model."""
    return {HANDLER: HERE / HANDLER, CONFIG: HERE / CONFIG} | {
        str(path.relative_to(ROOT)): path for path in sorted(modules_behind(HERE / HANDLER))
    }


def modules_behind(path: Path) -> set[Path]:
    """Every file of the shipped packages that a file imports, directly or through others, wherever the import stands."""
    found: set[Path] = set()
    waiting = [path]
    while waiting:
        for module in imported(ast.parse(waiting.pop().read_text())):
            new = _files_of(module) - found
            found |= new
            waiting.extend(new)
    return found


def imported(tree: ast.AST) -> list[str]:
    """The modules that source imports, of the shipped packages; ``from a.b import c`` may mean ``a.b.c``, too."""
    names = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names += [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
    return [name for name in names if name.split(".")[0] in PACKAGES]


def _files_of(module: str) -> set[Path]:
    """A module's file and those of the packages around it, as far as they exist."""
    parts = module.split(".")
    places = [ROOT.joinpath(*parts[: i + 1]) for i in range(len(parts))]
    candidates = [place / "__init__.py" for place in places] + [places[-1].with_suffix(".py")]
    return {candidate for candidate in candidates if candidate.is_file()}
