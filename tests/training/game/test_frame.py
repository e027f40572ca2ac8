"""What a recipe may hang on the loop: before a move, before the first step, after the last."""

from __future__ import annotations

import io
import json
import os
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from rich.console import Console
from torch import Tensor, nn

from contract import Latents
from tests.training.conftest import tiny_context
from training.__main__ import main
from training.data import load
from training.errors import TrainingError
from training.game.batches import Batches
from training.game.loop import Game, play
from training.game.objective import Loss, Term, loss
from training.game.recipe import Ema, Recipe
from training.game.step import Batch, DiscriminatorOutput, StepContext
from training.nets.mlp import Discriminator
from training.recipes import CATALOGUE
from training.report.journal import read_rows
from training.run.config import RunConfig
from training.run.directory import EXAMINATION
from training.run.examine import examine_run
from training.run.job import train


def game_of(recipe: Recipe) -> Game:
    return Game(recipe, load("ring8", environ={}), seed=5)


def test_a_player_makes_ready_before_it_states_its_loss() -> None:
    """A critic that is clipped before its update is evaluated with clipped weights, and keeps what its step makes of them."""
    seen: list[float] = []
    steps: list[int] = []

    @loss
    def spy(ctx: StepContext) -> Tensor:
        seen.append(max(p.abs().max().item() for p in ctx.nets["D"].parameters()))
        return ctx.on_real.logit.mean()

    def clip(nets: Mapping[str, nn.Module], step: int) -> None:
        steps.append(step)
        for parameter in nets["D"].parameters():
            parameter.data.clamp_(-0.1, 0.1)

    recipe = CATALOGUE["parabola"]
    d, g = recipe.players
    game = game_of(replace(recipe, players=(replace(d, loss=spy, before=clip), g)))
    list(play(game, 2))
    assert steps == [0] * (len(steps) // 2) + [1] * (len(steps) // 2)
    assert max(seen) == pytest.approx(0.1)
    assert max(p.abs().max().item() for p in game.nets["D"].parameters()) > 0.1


class Idle(nn.Module):
    """A net with one weight more than it uses."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner, self.spare = inner, nn.Parameter(torch.ones(3))

    def forward(self, x: Tensor) -> DiscriminatorOutput:
        output: DiscriminatorOutput = self.inner(x)
        return output


def game_with_idle_weight(*, is_allowed: bool) -> Game:
    recipe = CATALOGUE["parabola"]
    d, g = recipe.players

    def nets(shape: tuple[int, ...], latents: Latents) -> dict[str, nn.Module]:
        made = recipe.nets(shape, latents)
        return {**made, "D": Idle(made["D"])}

    return game_of(replace(recipe, nets=nets, players=(replace(d, has_idle_weights=is_allowed), g)))


def test_an_idle_weight_keeps_its_value_and_gets_no_optimiser_state() -> None:
    """The player's other weights are updated as ever."""
    game = game_with_idle_weight(is_allowed=True)
    net = game.nets["D"]
    assert isinstance(net, Idle)
    before = [p.clone() for p in net.inner.parameters()]
    list(play(game, 1))
    assert net.spare.tolist() == [1.0, 1.0, 1.0]
    assert net.spare not in game.optimisers["D"].state
    assert not any(torch.equal(a, b) for a, b in zip(before, net.inner.parameters(), strict=True))


def test_an_idle_weight_is_an_error_unless_the_player_allows_it() -> None:
    """A weight that was forgotten in ``forward`` is found at the first step, and the sentence says which one."""
    with pytest.raises(
        TrainingError, match=r"^player D: its loss \S+ does not use its weight 0, of shape \[3\]: use it, or set"
    ):
        list(play(game_with_idle_weight(is_allowed=False), 1))


@pytest.mark.parametrize(
    ("value", "sentence"),
    [
        (lambda ctx: ctx.on_fake.logit, "player G: wrong must be one number in a tensor, as .mean() gives, got shape [512]"),
        (lambda ctx: 3.0, "player G: wrong must be one number in a tensor, as .mean() gives, got float"),
        (lambda ctx: ctx.on_fake.logit.mean().detach(), "player G: its loss wrong does not depend on its weights"),
    ],
    ids=["rows", "number", "detached"],
)
def test_a_loss_that_cannot_be_minimised_is_one_sentence(value: Callable[[StepContext], Tensor], sentence: str) -> None:
    """It names the player and the loss."""
    recipe = CATALOGUE["parabola"]
    d, g = recipe.players
    game = game_of(replace(recipe, batch=512, players=(d, replace(g, loss=Loss((Term("wrong", value),))))))
    with pytest.raises(TrainingError) as found:
        list(play(game, 1))
    assert str(found.value) == sentence


def test_fresh_nets_are_prepared_from_the_data_before_they_are_copied() -> None:
    """``prepare`` gets the nets, the data and the seed; averages begin where it left the nets."""
    conditioning: list[tuple[int, int]] = []

    def prepare(nets: Mapping[str, nn.Module], batches: Batches, seed: int) -> None:
        conditioning.append((len(batches), seed))
        with torch.no_grad():
            next(nets["G"].parameters()).fill_(batches.rows(torch.tensor([3])).x[0, 0].item())

    recipe = CATALOGUE["parabola"]
    game = game_of(replace(recipe, prepare=prepare, ema=Ema(0.5)))
    assert conditioning == [(100_000, 5)]
    expected = game.batches.data.items[3, 0].item()
    assert (next(game.averages["G"].parameters()) == expected).all()


class Critic(Discriminator):
    """A discriminator whose zero means nothing."""

    def forward(self, x: Tensor) -> DiscriminatorOutput:
        return replace(super().forward(x), threshold=None)


def test_a_critic_has_no_accuracy() -> None:
    """Its scores have no side, so none is noted, moving or not."""
    nets = {"D": Critic(nn.Sequential(nn.Identity()), 2), "G": nn.Identity()}
    ctx = StepContext(nets, Batch(torch.ones(2, 2)), {}, step=0, moving=frozenset("D"))
    assert ctx.on_real.logit.shape == (2,)
    assert ctx.logged == {}


@pytest.mark.slow
def test_more_checkpoints_change_nothing_that_comes_out(tmp_path: Path) -> None:
    """A run with one and a run with ten, each of which looks at samples, export the same bytes; none at all is refused."""
    asked = ["train", "toy1d", "--steps", "10", "--batch", "4"]
    for count in ("1", "10"):
        assert main([*asked, "--checkpoints", count, "--out", str(tmp_path / count)]) == 0
    assert (tmp_path / "1" / "model.onnx").read_bytes() == (tmp_path / "10" / "model.onnx").read_bytes()
    looks = [[row for row in read_rows(tmp_path / count / "stats.jsonl") if "alarm/collapse" in row] for count in ("1", "10")]
    assert len(looks[0]) == len(looks[1]) == 1
    assert main([*asked, "--checkpoints", "0", "--out", str(tmp_path / "none")]) == 2


@pytest.mark.slow
def test_a_run_is_examined_by_what_its_recipe_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The numbers of ``examine`` on the test part are printed and written next to the model."""
    recipe = replace(CATALOGUE["vanilla"], data="digits", examine=lambda nets, test: {"test-samples": float(len(test.x))})
    monkeypatch.setitem(CATALOGUE, "examined", replace(recipe, name="examined"))
    context = replace(tiny_context(tmp_path / "run"), console=Console(file=io.StringIO(), width=200))
    assert train(RunConfig(recipe="examined", steps=1, batch=8), context)
    assert examine_run(context, model_steps=1) == {"test-samples": 355.0}
    written = json.loads((context.run / EXAMINATION).read_text())
    assert written == {"step": 1, "data": "digits", "samples": 355, "values": {"test-samples": 355.0}}
    said = context.console.file
    assert isinstance(said, io.StringIO)
    assert "what follows" not in said.getvalue()
    steps = iter((False, True))
    stopped = replace(context, is_stopped=lambda: next(steps))
    assert not train(RunConfig(recipe="examined", steps=9, batch=8), stopped)
    examine_run(context, model_steps=1)
    assert "what follows is of the checkpoint of step 3; model.onnx is of step 1" in said.getvalue()


@pytest.mark.slow
@pytest.mark.parametrize("name", ["infogan_small", "salimans_small", "lapgan"])
def test_without_labels_there_is_no_examination_that_needs_them(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The test part of another data set may have none: a sentence says so, and nothing is written."""
    recipe = replace(CATALOGUE["parabola"], data="grid25", examine=CATALOGUE[name].examine)
    monkeypatch.setitem(CATALOGUE, "examined", replace(recipe, name="examined"))
    context = replace(tiny_context(tmp_path / "run"), console=Console(file=io.StringIO(), width=200))
    assert train(RunConfig(recipe="examined", steps=1, batch=8), context)
    assert examine_run(context) is None
    assert "not examined: the test samples have no labels" in context.console.file.getvalue()  # type: ignore[attr-defined]
    assert not (context.run / EXAMINATION).exists()


@pytest.mark.slow
def test_a_recipe_without_an_examination_has_none(tmp_path: Path) -> None:
    """None is said and nothing written; no checkpoint is needed for that."""
    context = tiny_context(tmp_path / "run")
    assert train(RunConfig(recipe="parabola", steps=1, batch=8), context)
    for path in context.run.glob("checkpoint-*.pt"):
        path.unlink()
    assert examine_run(context) is None
    assert not (context.run / EXAMINATION).exists()


@pytest.mark.slow
def test_score_of_a_run_directory_counts_the_errors_of_its_classifier(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """``python -m training score RUN`` of a semi-supervised run prints D's errors on the test part with G's scores."""
    run = tmp_path / "run"
    assert train(RunConfig(recipe="salimans_small", data="digits", steps=2, batch=8), tiny_context(run))
    monkeypatch.setenv("XDG_CACHE_HOME", os.environ["TEST_CACHE"])
    assert main(["score", str(run), "--samples", "20"]) == 0
    written = json.loads((run / EXAMINATION).read_text())
    assert written["samples"] == 355
    assert 0 <= written["values"]["errors"] <= 355
    assert f"on 355 test samples of digits: errors {written['values']['errors']:g}, error" in capsys.readouterr().out
