"""docs/RELIABILITY.md and the tests say the same: each named test exists, and each case of a docstring has a row."""

from __future__ import annotations

import ast
import re
from functools import cache

import pytest

from tests.repository.files import ROOT

CASE = r"\b[DBHOFTS]-\d\d\b"
TESTS = ROOT / "tests"
SHOWN, _, NOT_SHOWN = (ROOT / "docs" / "RELIABILITY.md").read_text().partition("## Not shown by a test")
ROWS = re.findall(rf"^\| ({CASE}) \| (.+?) \| (.+) \|$", SHOWN, re.MULTILINE)


@cache
def docstrings(path: str) -> dict[str, str]:
    """The docstrings of the test functions of a file below tests/, by name."""
    functions = ast.walk(ast.parse((TESTS / path).read_text()))
    return {
        function.name: ast.get_docstring(function) or ""
        for function in functions
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef) and function.name.startswith("test_")
    }


@pytest.mark.parametrize(("case", "promise", "tests"), ROWS, ids=[case for case, _, _ in ROWS])
def test_each_case_has_tests_that_exist(case: str, promise: str, tests: str) -> None:
    """The last column names files and functions."""
    names = re.findall(r"`([^`]+)::([^`]+)`", tests)
    assert names
    assert [name for path, name in names if name not in docstrings(path)] == []


def test_each_case_has_one_row() -> None:
    """A case has one promise."""
    cases = [case for case, _, _ in ROWS]
    assert sorted(set(cases)) == sorted(cases)


def test_each_case_that_a_test_names_is_listed() -> None:
    """A test that makes a case happen can be found from the page."""
    listed = set(re.findall(CASE, SHOWN))
    named = {
        case
        for path in TESTS.rglob("test_*.py")
        for text in docstrings(str(path.relative_to(TESTS))).values()
        for case in re.findall(CASE, text)
    }
    assert named - listed == set()
