"""The help of the command line: an overview that fits a screen, and all of a command's text in its own help."""

from __future__ import annotations

import pytest

from training.__main__ import main

GATES = "A gate decides which players may update"
"""Begins the second paragraph of train's docstring."""


def help_of(arguments: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> str:
    """What ``python -m training ARGUMENTS --help`` prints on a terminal of 100 columns."""
    monkeypatch.setenv("COLUMNS", "100")
    with pytest.raises(SystemExit) as ended:
        main([*arguments, "--help"])
    assert ended.value.code == 0
    return capsys.readouterr().out


def test_the_overview_shows_one_paragraph_a_command(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """At most 40 lines of 100 columns, each command among them."""
    overview = help_of([], capsys, monkeypatch)
    lines = overview.splitlines()
    assert len(lines) <= 40
    assert max(map(len, lines)) <= 100
    assert "• train" in overview
    assert "• list" in overview
    assert GATES not in overview


def test_a_commands_help_shows_all_of_its_text(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """The second paragraph of `train --help` is there."""
    assert GATES in help_of(["train"], capsys, monkeypatch)
