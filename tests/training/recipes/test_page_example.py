"""The example of docs/RECIPES.md, a recipe in five steps: its code as it is printed there."""

from __future__ import annotations

import re
import sys
import textwrap
from types import ModuleType

import pytest

from tests.repository.files import ROOT
from training.data import load
from training.game.loop import Game, play

PAGE = (ROOT / "docs" / "RECIPES.md").read_text()
EXAMPLE = PAGE.partition("## Add a recipe in five steps")[2].partition("### What a net must be")[0]


def test_the_example_trains(monkeypatch: pytest.MonkeyPatch) -> None:
    """Both files of it import all that they use, and two steps of the recipe have finite losses."""
    losses, recipe = (textwrap.dedent(code) for code in re.findall(r"   ```python\n(.*?)   ```", EXAMPLE, re.DOTALL))
    for name, code in (("training.losses.hinge", losses), ("training.recipes.hinge", recipe)):
        module = ModuleType(name)
        monkeypatch.setitem(sys.modules, name, module)
        exec(compile(code, f"{name} of docs/RECIPES.md", "exec"), vars(module))
    (made,) = sys.modules["training.recipes.hinge"].RECIPES
    game = Game(made, load(made.data, environ={}), seed=0)
    assert list(play(game, 2)) == [1, 2]
    assert {"D/loss", "G/loss", "accuracy/real"} <= game.record().keys()
