"""docs/RELIABILITY.md and the tests say the same: each named test exists, and each case of a docstring has a row."""

from __future__ import annotations

import ast
import re
from functools import cache

import pytest

from tests.repository.files import ROOT

CASE = r"\b[DBHOFTS]-\d\d\b"
TESTS = ROOT / "tests"
SHOWN, _, MOOT = (ROOT / "docs" / "RELIABILITY.md").read_text().partition("## Cannot happen here")
CASES = {"D": 11, "B": 28, "H": 24, "O": 18, "F": 30, "S": 30, "T": 26}
"""Number of cases by group."""
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


def test_every_case_is_shown_or_cannot_happen() -> None:
    """Each case has a row, is in a row's range such as "B-01 to B-18", or has the reason why it cannot happen."""
    listed = [case for case, *_ in ROWS] + re.findall(rf"^\| ({CASE}) \| .+ \|$", MOOT, re.MULTILINE)
    for group, first, last in re.findall(r"\b([DBHOFTS])-(\d\d) to \1-(\d\d)\b", SHOWN):
        listed += [f"{group}-{number:02d}" for number in range(int(first), int(last) + 1)]
    assert set(listed) == {f"{group}-{number:02d}" for group, count in CASES.items() for number in range(1, count + 1)}


@pytest.mark.slow
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
