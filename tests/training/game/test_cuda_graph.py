"""Updates as CUDA graphs: the same bits, and eager where a graph is not right."""

from __future__ import annotations

import copy
import gc
import os
import weakref
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from training.data import load
from training.errors import NonFinite
from training.game import graphs as choosing
from training.game.cuda_graph import CudaGraph
from training.game.evaluation import Unseen
from training.game.loop import Game, play
from training.game.objective import loss
from training.game.recipe import Recipe
from training.game.schedules import Update
from training.game.step import AnyStep, StepContext
from training.nets.growing import Growth
from training.penalties import r1_r2
from training.recipes import CATALOGUE
from training.run.job import repeatable

WARM = 3
CUDA = torch.device("cuda")
WHOLE = (
    "vanilla",
    "renom",
    "toy1d_minibatch",
    "dcgan_torch_small",
    "infogan_small",
    "pix2pix_small",
    "caae_small",
    "gman_small",
)
"""Recipes whose updates are graphs with the optimisers' steps."""
GRADIENTS = ("goodfellow_small", "cgan", "vaegan_ns_small", "dcgan", "ppgn_small")
"""Recipes whose graphs leave the optimisers' steps outside: settings change with the step, or something follows."""
BY_STEP = ("cdcgan_r1", "salimans_small", "r3gan_small")
"""Recipes whose losses depend on the step: a penalty at some steps, labelled samples of the step, a weight that falls."""


@pytest.fixture(autouse=True)
def early(monkeypatch: pytest.MonkeyPatch) -> None:
    """Graphs from the third evaluation of an update on."""
    monkeypatch.setattr(choosing, "WARM", WARM)


def game_of(recipe: Recipe, *, has_graphs: bool = True, device: torch.device = CUDA) -> Game:
    name = "mnist5k" if recipe.data in ("mnist", "mnist50k") else recipe.data
    data = load(name, size=recipe.size, environ=os.environ).to(device)
    game = Game(recipe, data, seed=1)
    game.graphs.are_on &= has_graphs
    return game


def tensors_of(game: Game) -> list[Tensor]:
    states = [state for optimiser in game.optimisers.values() for state in optimiser.state.values()]
    moments = [value for state in states for value in state.values() if isinstance(value, Tensor)]
    return [value.cpu() for net in game.sampling_nets().values() for value in net.state_dict().values()] + [
        m.cpu() for m in moments
    ]


def same(one: Game, other: Game) -> bool:
    pairs = zip(tensors_of(one), tensors_of(other), strict=True)
    return all(torch.equal(a, b) for a, b in pairs) and one.record() == other.record()


@pytest.mark.gpu
@pytest.mark.slow
@pytest.mark.parametrize("name", [*WHOLE, *GRADIENTS, *BY_STEP])
def test_a_graph_computes_the_same_bits(name: str) -> None:
    """Weights, averages, moments and records after 20 steps equal those of the game without graphs, for every update."""
    recipe = CATALOGUE[name]
    with repeatable():
        graphs, eager = game_of(recipe), game_of(recipe, has_graphs=False)
        for game in (graphs, eager):
            list(play(game, 20))
    assert set(graphs.graphs.found) == {update.players for update in recipe.schedule.updates(0)}
    if name in WHOLE:
        assert all(graph._move for found in graphs.graphs.found.values() for graph in found)
    assert same(graphs, eager)


@pytest.mark.gpu
@pytest.mark.slow
def test_a_resumed_game_ends_in_the_same_bits() -> None:
    """Saved while it computes by graphs, a game goes on without them until it is warm, and ends where it would have ended."""
    with repeatable():
        whole, again = (game_of(CATALOGUE["cdcgan_r1"]) for _ in range(2))
        list(play(whole, 10))
        again.restore(copy.deepcopy(whole.state()))
        for game in (whole, again):
            list(play(game, 20))
    assert same(whole, again)


@pytest.mark.gpu
@pytest.mark.slow
def test_nets_that_grow_have_graphs_of_their_present_phase() -> None:
    """Five steps stable and five fading: through five phases the bits are those without graphs, and old graphs are let go."""
    small = CATALOGUE["progan_small"]
    recipe = replace(small, players=tuple(replace(player, before=Growth(5, 5)) for player in small.players))
    with repeatable():
        graphs, eager = game_of(recipe), game_of(recipe, has_graphs=False)
        for steps in (5, 10, 15, 20, 25):
            for game in (graphs, eager):
                list(play(game, steps))
            assert {players: len(found) for players, found in graphs.graphs.found.items()} == {("D",): 1, ("G",): 1}
    assert graphs.nets["G"].phase == (2, False)
    assert same(graphs, eager)


@loss
def d_waiting(ctx: StepContext) -> Tensor:
    """A loss for which Python waits."""
    return ctx.on_real.logit.mean() * (1 if ctx.on_fake.logit.detach().mean().item() > 0 else 2)


@loss
def d_drawing(ctx: StepContext) -> Tensor:
    """A loss that draws on the CPU."""
    return ctx.on_real.logit.mean() * float(torch.rand(())) + ctx.on_fake.logit.mean()


@loss
def d_drawing_and_waiting(ctx: StepContext) -> Tensor:
    """A loss that draws on the CPU and brings the numbers to the GPU."""
    return (ctx.on_real.logit * torch.rand(len(ctx.real.x)).to(CUDA)).mean() + ctx.on_fake.logit.mean()


@pytest.mark.gpu
@pytest.mark.slow
@pytest.mark.parametrize("careless", [d_waiting, d_drawing, d_drawing_and_waiting])
def test_a_loss_that_no_graph_can_hold_is_computed_without(careless: object) -> None:
    """D's update stays eager, and the bits are those without any graph."""
    vanilla = CATALOGUE["vanilla"]
    recipe = replace(vanilla, players=(replace(vanilla.players[0], loss=careless), vanilla.players[1]))  # type: ignore[arg-type]
    graphs, eager = game_of(recipe), game_of(recipe, has_graphs=False)
    for game in (graphs, eager):
        list(play(game, 8))
    assert list(graphs.graphs.found) == [("G",)]
    assert same(graphs, eager)


@pytest.mark.gpu
@pytest.mark.slow
def test_a_capture_that_fails_leaves_the_generator_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    """What remains of an update on the default stream must not be touched by a capture; here it is kept alive."""
    kept = []
    evaluate = Game.evaluate

    def keeping(game: Game, *how: object) -> object:
        kept.append(evaluate(game, *how))  # type: ignore[arg-type]
        return kept[-1]

    monkeypatch.setattr(Game, "evaluate", keeping)
    graphs = game_of(CATALOGUE["vanilla"])
    list(play(graphs, 8))
    monkeypatch.undo()
    monkeypatch.setattr(choosing, "WARM", WARM)
    eager = game_of(CATALOGUE["vanilla"], has_graphs=False)
    list(play(eager, 8))
    assert not graphs.graphs.found
    assert not graphs.graphs.are_on
    assert torch.cuda.current_stream() == torch.cuda.default_stream()
    assert same(graphs, eager)


@pytest.mark.gpu
@pytest.mark.slow
@pytest.mark.parametrize("settle", [Game.settle, Game.record, Game.state])
def test_a_loss_that_is_not_finite_is_seen_before_anything_is_kept(settle: Callable[[Game], object]) -> None:
    """Python runs ahead of the GPU, but no record and no state leave the game before every loss has been looked at."""
    game = game_of(CATALOGUE["vanilla"])
    list(play(game, WARM + 2))
    with torch.no_grad():
        game.nets["D"].head.weight[0, 0] = float("nan")
    list(play(game, WARM + 4))
    with pytest.raises(NonFinite, match=rf"step {WARM + 2}.*D"):
        settle(game)


@pytest.mark.gpu
@pytest.mark.slow
def test_a_loss_that_is_not_finite_ends_the_game_soon() -> None:
    """Within the number of updates that Python may run ahead."""
    game = game_of(CATALOGUE["vanilla"])
    with torch.no_grad():
        game.nets["D"].head.weight[0, 0] = float("nan")
    with pytest.raises(NonFinite):
        list(play(game, Unseen.MOST))


def test_a_step_of_any_number_serves_those_that_answer_alike() -> None:
    """A graph without the penalty of every fourth step is right for three of four steps."""
    step = AnyStep(6, has_inputs=False)
    assert step % 4
    assert [step.suits(n) for n in range(6)] == [False, True, True, True, False, True]
    assert AnyStep(6, has_inputs=False).suits(0)


USES: dict[str, Callable[[Any], object]] = {
    "remainder as a number": lambda step: 1 + step % 2,
    "remainder compared": lambda step: step % 2 == 0,
    "remainder unequal": lambda step: step % 2 != 0,
    "product": lambda step: step * 2,
    "less": lambda step: step < 9,
    "equal": lambda step: step == 6,
    "one of several": lambda step: step in (5, 6),
    "key": lambda step: {6: 1}.get(step),
    "truth": bool,
    "tensor": lambda step: step.input("x", lambda number: ()),
}


@pytest.mark.parametrize("use", USES)
def test_a_step_of_any_number_has_no_number(use: str) -> None:
    """A graph must not keep the number of the step at which it was recorded."""
    with pytest.raises(TypeError):
        USES[use](AnyStep(6, has_inputs=False))


def test_tensors_of_a_step_are_filled_anew() -> None:
    """The graph reads the same memory at each step."""
    step = AnyStep(6, has_inputs=True)
    (held,) = step.input("x", lambda n: (torch.full((2,), float(n)),))
    assert held.tolist() == [6, 6]
    step.fill(9)
    assert held.tolist() == [9, 9]
    assert step.input("x", lambda n: ())[0] is held


@pytest.mark.slow
def test_the_graph_of_a_gpu_is_not_used_on_the_cpu() -> None:
    """There TorchScript is."""
    game = game_of(CATALOGUE["toy1d"], device=torch.device("cpu"))
    list(play(game, WARM + 1))
    assert not any(isinstance(graph, CudaGraph) for found in game.graphs.found.values() for graph in found)
    assert len(game.graphs.found) == 2


def test_a_refusal_is_said_once() -> None:
    """The first line of the reason, and whether it concerns the update or the steps of its optimisers; nothing on the CPU."""
    game = game_of(CATALOGUE["toy1d"], device=torch.device("cpu"))
    game.graphs.refused |= {("D",): "no such operation\nfurther lines", ("D", "G", "whole"): "the step waits"}
    assert game.graphs.refusals() == []
    game.graphs._device = CUDA
    assert game.graphs.refusals() == [
        "D: update without a CUDA graph, no such operation",
        "D and G: steps of the optimiser without a CUDA graph, the step waits",
    ]
    assert game.graphs.refusals() == []


@pytest.mark.slow
def test_a_game_without_references_is_freed_at_once() -> None:
    """Its memory on a GPU is not left to a garbage collection that knows nothing of it."""
    game = game_of(CATALOGUE["toy1d"], device=torch.device("cpu"))
    list(play(game, WARM + 1))
    seen = weakref.ref(game)
    gc.disable()
    try:
        del game
        assert seen() is None
    finally:
        gc.enable()


def test_tensors_of_a_step_belong_to_what_makes_them() -> None:
    """Two penalties of one player with other weights are two tensors."""
    recipe = CATALOGUE["toy1d"]
    toy = replace(
        recipe, players=(replace(recipe.players[0], loss=r1_r2(lambda step: 1.0) + r1_r2(lambda step: 10.0)), recipe.players[1])
    )
    game = game_of(toy, device=torch.device("cpu"))
    ctx = game.draw(Update(("D",)), [toy.players[0]])
    first, _, second, _ = (value.item() for _, value in toy.players[0].loss.parts(ctx))
    assert second == pytest.approx(10 * first)
