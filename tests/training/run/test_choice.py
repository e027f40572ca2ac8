"""Which weights of a run are exported: those of the lowest KID, or the last ones."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from PIL import Image
from rich.console import Console
from torch import Tensor

from contract import Card
from tests.training.conftest import differences, tiny_context
from training.data import load
from training.errors import TrainingError
from training.export.model_card import as_markdown
from training.game.loop import Game
from training.recipes import CATALOGUE
from training.run import job
from training.run.checkpoint import BEST, read, write
from training.run.choice import kid_of, require_best
from training.run.config import RunConfig
from training.run.context import JobContext
from training.run.job import export_run, train

CPU = torch.device("cpu")
KIDS = [0.5, 0.2, 0.3, 0.4]
"""KID at steps 2, 4, 6 and 8."""
CONFIG = RunConfig(recipe="vanilla", data="digits", steps=8, batch=8)


@pytest.fixture
def exported(monkeypatch: pytest.MonkeyPatch) -> list[Card]:
    """The cards of the exported models; the files, which take seconds each, are left out."""
    cards: list[Card] = []

    def note(sampler: object, card: Card, path: Path, **_: object) -> dict[str, float]:
        cards.append(card)
        path.write_bytes(b"model")
        return {"float": 0.0}

    monkeypatch.setattr(job, "export", note)
    return cards


def context_of(run: Path, monkeypatch: pytest.MonkeyPatch, first: int = 0) -> JobContext:
    """A run that is evaluated four times, to ``KIDS`` from the ``first`` on."""
    given = iter(KIDS[first:])

    def evaluator(*_: object) -> Callable[[Tensor, Tensor | None], tuple[None, dict[str, float]]]:
        return lambda samples, asked: (None, {"score/kid": next(given)})

    monkeypatch.setattr(job, "make_evaluator", evaluator)
    return replace(tiny_context(run), checkpoints=4)


@pytest.mark.slow
def test_the_evaluation_of_the_lowest_kid_is_exported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, exported: list[Card]
) -> None:
    """vanilla exports it by itself; `last` is the last step; the card has the step and the reason."""
    context = context_of(tmp_path, monkeypatch)
    assert train(CONFIG, context)
    export_run(context, asked="last")
    export_run(context)
    best, last, again = exported
    assert (best.steps, best.images) == (4, 32)
    assert best.chosen == "lowest KID of the run, 0.2 at step 4; the last, by step 8, is 0.4"
    assert "Chosen for the lowest KID of the run, 0.2 at step 4" in as_markdown(best, "model.onnx", "")
    assert (last.steps, last.chosen) == (8, "")
    assert again == best
    assert kid_of(read(tmp_path / BEST, device=CPU)) == pytest.approx(0.2)


@pytest.mark.slow
@pytest.mark.parametrize("stop", [3, 4, 5])
def test_an_interrupted_run_chooses_the_same(
    stop: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, exported: list[Card]
) -> None:
    """Stopped before, at and after the lowest KID, it ends with the same card and the same weights."""
    assert train(CONFIG, context_of(tmp_path / "whole", monkeypatch))
    begun = context_of(tmp_path / "broken", monkeypatch)
    steps = iter(range(1, 9))
    assert not train(CONFIG, replace(begun, is_stopped=lambda: next(steps) == stop))
    assert train(CONFIG, context_of(tmp_path / "broken", monkeypatch, first=stop // 2))
    assert exported[0] == exported[1]
    whole, broken = (read(tmp_path / run / BEST, device=CPU) for run in ("whole", "broken"))
    assert differences(whole, broken) == []


@pytest.mark.slow
def test_a_damaged_best_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, exported: list[Card]) -> None:
    """Going on, it is sought anew with a warning; exporting it is refused, and the last step is not."""
    said = io.StringIO()
    context = replace(context_of(tmp_path, monkeypatch), console=Console(file=said, width=200))
    steps = iter(range(1, 9))
    assert not train(CONFIG, replace(context, is_stopped=lambda: next(steps) == 5))
    path = tmp_path / BEST
    path.write_bytes(path.read_bytes()[:-1])
    assert train(CONFIG, context)
    assert "best.pt cannot be read, the lowest KID is sought anew: damaged" in said.getvalue()
    assert exported[0].chosen.startswith("lowest KID of the run, 0.3 at step 6")
    path.write_bytes(b"no")
    with pytest.raises(TrainingError, match=r"best\.pt cannot be read .* use --export last"):
        export_run(context)
    export_run(context, asked="last")


@pytest.mark.slow
def test_a_best_that_is_missing_or_of_another_run_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, exported: list[Card]
) -> None:
    """The last step in its place is said; weights of other nets are refused in one sentence."""
    said = io.StringIO()
    context = replace(context_of(tmp_path, monkeypatch), console=Console(file=said, width=200))
    assert train(CONFIG, context)
    (tmp_path / BEST).unlink()
    export_run(context)
    assert "best.pt, the checkpoint of the lowest KID, is missing: the last step is exported" in said.getvalue()
    assert (exported[-1].steps, exported[-1].chosen) == (8, "")
    game = Game(CATALOGUE["toy1d"], load("gaussian1d", environ={}), seed=0)
    write(tmp_path / BEST, game.state())
    with pytest.raises(TrainingError, match=r"the checkpoint in .*best\.pt is of other nets than its config\.json: "):
        export_run(context)


@pytest.mark.slow
def test_a_run_that_goes_on_for_fewer_steps_exports_one_of_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, exported: list[Card]
) -> None:
    """A kill may leave a best evaluation past the newest checkpoint; a run that ends before that step chooses its own."""
    steps = iter(range(1, 9))
    assert not train(CONFIG, replace(context_of(tmp_path, monkeypatch), is_stopped=lambda: next(steps) == 5))
    for path in tmp_path.glob("checkpoint-*.pt"):
        path.unlink()
    assert train(replace(CONFIG, steps=3), context_of(tmp_path, monkeypatch))
    assert exported[0].chosen == "lowest KID of the run, 0.2 at step 2; the last, by step 3, is 0.3"


def test_data_without_a_classifier_say_so(tmp_path: Path) -> None:
    """Asked for the best, a toy game is refused before it is played."""
    with pytest.raises(TrainingError, match="chooses by KID, for which gaussian1d has no classifier"):
        train(RunConfig(recipe="toy1d", steps=2, batch=8, export="best"), tiny_context(tmp_path))


def test_a_run_without_a_kid_has_no_best(tmp_path: Path) -> None:
    """Only who asks for the best is refused, and only where the checkpoint of the lowest KID is missing."""
    for asked in (None, "last"):
        require_best(asked, tmp_path)
    with pytest.raises(TrainingError, match=r" has no best\.pt, none of its evaluations measured KID: use --export last"):
        require_best("best", tmp_path)
    (tmp_path / BEST).touch()
    require_best("best", tmp_path)


def test_the_recipes_that_collapse_late_export_the_best() -> None:
    """The others export the last step."""
    assert [name for name, recipe in CATALOGUE.items() if recipe.export == "best"] == ["vanilla", "vanilla_log"]


@pytest.mark.slow
def test_a_recipe_that_exports_the_best_exports_the_last_where_there_is_no_kid(tmp_path: Path, exported: list[Card]) -> None:
    """Only who asks for it by name is refused."""
    digits = tmp_path / "pictures"
    digits.mkdir()
    for number in range(8):
        Image.new("L", (8, 8), number).save(digits / f"{number}.png")
    config = RunConfig(recipe="vanilla", data=f"folder:{digits}", size=8, steps=2, batch=8)
    assert train(config, tiny_context(tmp_path / "run"))
    assert (exported[0].steps, exported[0].chosen) == (2, "")
    with pytest.raises(TrainingError, match="has no classifier"):
        export_run(tiny_context(tmp_path / "run"), asked="best")
