"""What no file of the repository may hold."""

from __future__ import annotations

import ast
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.repository.files import CODE, ROOT, files, name_of, python_files

# Put together from parts, so that this file is no finding of its own.
PLACES = ("root", "work", "home", "Users", "opt")
MACHINE_PATHS = re.compile("|".join(f"(?<![A-Za-z0-9_.])/{place}/(?!me/)[A-Za-z0-9]" for place in PLACES).encode())
FORBIDDEN_MODULES = {"pickle", "_pickle", "dill", "cloudpickle", "marshal", "shelve", "joblib", "torchvision"}
FORBIDDEN_CALLS = {"eval", "exec", "yaml.load", "yaml.unsafe_load", "torch.export.load", "torch.jit.load", "torch.hub.load"}

MOST_LINES = 300
TABLES = {"serving/errors.py"}
"""Longer files that are nothing but rows."""


@pytest.mark.slow
def test_no_file_names_a_place_on_somebodys_machine() -> None:
    """No path into a home or a workplace, but for an example called me: true on one machine, a riddle on others."""
    found = {name_of(path): match.group().decode() for path in files() if (match := MACHINE_PATHS.search(path.read_bytes()))}
    assert found == {}


def test_git_ignores_no_source() -> None:
    """A pattern in .gitignore that hits source files would keep them out of every commit without a word."""
    if shutil.which("git") is None or not (ROOT / ".git").exists():
        pytest.skip("needs git and a checkout")
    names = "\0".join(name_of(path) for path in python_files(*CODE, "tests"))
    command = ["git", "-C", str(ROOT), "check-ignore", "--no-index", "-z", "--stdin"]
    assert subprocess.run(command, input=names, capture_output=True, text=True).stdout.split("\0")[:-1] == []


def test_no_file_is_too_long_to_be_read_at_once() -> None:
    """At most 300 lines of Python a file; a table of classes may be longer."""
    lengths = {name_of(path): len(path.read_text().splitlines()) for path in python_files(*CODE, "gan_serve", "tests")}
    assert {name for name, lines in lengths.items() if lines > MOST_LINES} <= TABLES


@pytest.mark.parametrize("path", python_files(*CODE), ids=name_of)
def test_source_runs_nothing_that_came_as_data(path: Path) -> None:
    """No pickle in any form, no eval, no unsafe loader: a model file or a checkpoint can never be a program."""
    assert dangers(ast.parse(path.read_text())) == []


@pytest.mark.parametrize(
    "source",
    [
        "import pickle",
        "from pickle import loads",
        "import torchvision.datasets",
        "eval('1')",
        "torch.load(path)",
        "torch.load(path, weights_only=False)",
        "np.load(path, allow_pickle=True)",
        "yaml.load(text)",
        "torch.export.load(path)",
    ],
)
def test_the_scan_finds(source: str) -> None:
    """Each danger, alone, is found."""
    assert len(dangers(ast.parse(source))) == 1


@pytest.mark.parametrize("source", ["torch.load(path, weights_only=True)", "np.load(path)", "G.eval()", "yaml.safe_load(text)"])
def test_the_scan_lets_pass(source: str) -> None:
    """What is safe is no finding."""
    assert dangers(ast.parse(source)) == []


def dangers(tree: ast.AST) -> list[str]:
    """Every statement of a module that may run what came as data, as ``line: source``."""
    return [
        f"{node.lineno}: {ast.unparse(node)}"
        for node in ast.walk(tree)
        if isinstance(node, ast.stmt | ast.expr) and is_danger(node)
    ]


def is_danger(node: ast.AST) -> bool:
    """Whether this import or call is one."""
    match node:
        case ast.Import(names):
            return any(alias.name.split(".")[0] in FORBIDDEN_MODULES for alias in names)
        case ast.ImportFrom(module=str(module)):
            return module.split(".")[0] in FORBIDDEN_MODULES
        case ast.Call(func, _, keywords):
            given = {keyword.arg: ast.unparse(keyword.value) for keyword in keywords}
            name = ast.unparse(func)
            if name in ("np.load", "numpy.load"):
                return given.get("allow_pickle", "False") != "False"
            return name in FORBIDDEN_CALLS or (name == "torch.load" and given.get("weights_only") != "True")
    return False


@pytest.mark.parametrize("path", [path for path in python_files("tests") if path.name.startswith("test_")], ids=name_of)
def test_every_test_says_what_it_shows(path: Path) -> None:
    """A test's docstring is the sentence that it proves."""
    functions = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.FunctionDef)]
    assert [f.name for f in functions if f.name.startswith("test_") and not ast.get_docstring(f)] == []


@pytest.mark.slow
def test_every_module_says_what_it_is() -> None:
    """A module opens with one sentence, and none is called utils, helpers, common, misc or manager."""
    sources = python_files(*CODE)
    assert [name_of(path) for path in sources if not ast.get_docstring(ast.parse(path.read_text()))] == []
    assert [name_of(path) for path in sources if path.stem in ("utils", "helpers", "common", "misc", "manager")] == []
