"""What the tests of the repository look at: its files, and the instructions of its Dockerfiles."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
CODE = ("contract", "training", "serving", "deploy", "benchmarks")
NOT_OURS = {".git", ".venv", ".build", "build", "dist", "runs", "__pycache__"}


def files() -> list[Path]:
    """Every file that belongs to the repository, committed or about to be."""
    if (ROOT / ".git").exists() and shutil.which("git"):
        command = ["git", "-C", str(ROOT), "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
        names = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split("\0")
        found = [ROOT / name for name in names if name]
    else:
        found = [path for path in ROOT.rglob("*") if not NOT_OURS & set(path.relative_to(ROOT).parts)]
    return sorted(path for path in found if path.is_file())


def python_files(*folders: str) -> list[Path]:
    """The Python files of some folders, ignored by git or not."""
    found = [path for folder in folders for path in (ROOT / folder).rglob("*.py")]
    return sorted(path for path in found if "__pycache__" not in path.parts)


def name_of(path: Path) -> str:
    """A path as a test's name."""
    return str(path.relative_to(ROOT))


def instructions(dockerfile: str) -> list[tuple[str, str]]:
    """A Dockerfile's instructions in order: keyword and the rest, continued lines joined, comments dropped."""
    text = "\n".join(line for line in (ROOT / dockerfile).read_text().splitlines() if not line.lstrip().startswith("#"))
    lines = re.sub(r"\s*\\\n\s*", " ", text).splitlines()
    return [(keyword, rest) for keyword, _, rest in (line.partition(" ") for line in lines if line.strip())]


def commands(stage: list[tuple[str, str]]) -> list[str]:
    """What a stage's RUN instructions hand to the shell, without the options that docker takes."""
    return [re.sub(r"^(--\S+ +)+", "", rest) for keyword, rest in stage if keyword == "RUN"]


def last_stage(dockerfile: str) -> list[tuple[str, str]]:
    """The instructions of the stage that becomes the image."""
    found = instructions(dockerfile)
    start = max(i for i, (keyword, _) in enumerate(found) if keyword == "FROM")
    return found[start:]


def environment(stage: list[tuple[str, str]]) -> dict[str, str]:
    """What a stage's ENV instructions set."""
    return dict(pair.split("=", 1) for keyword, rest in stage if keyword == "ENV" for pair in rest.split())
