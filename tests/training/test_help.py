"""The help of the training commands and of the scoreboard: each option has a text, which the terminal breaks where it likes."""

from __future__ import annotations

import ast
import inspect
from itertools import pairwise

import pytest

from benchmarks.scoreboard.__main__ import Scoreboard
from training.__main__ import Export, List, Resume, Score, Train
from training.adopt.command import Adopt
from training.export.model_card import ExportCard
from training.run.compare import Gmam, Reconstruct
from training.run.complete import Complete

COMMANDS = (Train, Resume, Export, Adopt, ExportCard, Score, Gmam, Reconstruct, Complete, List, Scoreboard)


@pytest.mark.parametrize("command", COMMANDS)
def test_each_option_is_described_in_one_line(command: type) -> None:
    """tyro breaks the text of an option where the source does; what needs more lines belongs to the command's description."""
    (definition,) = ast.parse(inspect.getsource(command)).body
    assert isinstance(definition, ast.ClassDef)
    texts = {
        ast.unparse(option.target): text.value.value
        for option, text in pairwise(definition.body)
        if isinstance(option, ast.AnnAssign) and isinstance(text, ast.Expr) and isinstance(text.value, ast.Constant)
    }
    assert list(texts) == list(command.__dataclass_fields__)  # type: ignore[attr-defined]
    assert [name for name, text in texts.items() if "\n" in str(text)] == []
