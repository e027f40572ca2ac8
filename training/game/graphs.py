"""Which updates of a game are graphs, and of which kind."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Mapping, Sequence
from functools import partial
from typing import cast

import torch
from torch import Tensor, nn

from training.game.captured import CannotCapture, Captured, Compute, is_small
from training.game.cuda_graph import CudaGraph, FailedCapture, Move, is_fixed
from training.game.evaluation import Evaluation
from training.game.gates import always
from training.game.optimisers import Clip
from training.game.places import Places
from training.game.recipe import PhasedHook, Player, Recipe
from training.game.step import StepContext

WARM = 50
"""Evaluation of an update from which it is a graph: recording one takes as long as some hundred updates."""
Graph = Captured | CudaGraph


class Graphs:
    """The graphs of one game's updates; recorded from the update's ``WARM``-th evaluation on."""

    def __init__(
        self,
        recipe: Recipe,
        nets: Mapping[str, nn.Module],
        parameters: Mapping[str, Sequence[Tensor]],
        optimisers: Mapping[str, torch.optim.Optimizer],
        device: torch.device,
        compute: Compute,
        apply: Callable[[list[Player], Evaluation], None],
    ) -> None:
        """Args:
        recipe: what is trained.
        nets: the nets by role, on ``device``.
        parameters: weights of each player.
        optimisers: optimiser of each player.
        device: where the game is computed.
        compute: computes losses and logged scalars of an update.
        apply: takes the steps of some players' optimisers.
        """
        self.places = Places(nets.values())
        self.found: dict[tuple[str, ...], list[Graph]] = {}
        """Graphs by the players of the update; of a penalty at some steps there are two, with and without it."""
        self.refused: dict[tuple[str, ...], str] = {}
        """Why an update is no graph, by its players; with ``whole``, why its graph does not hold the optimisers' steps."""
        hooks = [player.before for player in recipe.players if not isinstance(player.before, Clip | None)]
        if device.type == "cuda":
            self.are_on = all(isinstance(hook, PhasedHook) for hook in hooks)
        else:
            self.are_on = is_small(nets) and not hooks and not any(player.has_idle_weights for player in recipe.players)
        """Whether any update is tried."""
        self._evaluations: Counter[tuple[str, ...]] = Counter()
        self._phases: dict[tuple[str, ...], Hashable] = {}
        self._nets = nets
        self._said: dict[tuple[str, ...], str] = {}
        self._gate, self._parameters, self._optimisers, self._device = recipe.gate, parameters, optimisers, device
        self._compute, self._apply = compute, apply

    def of(self, players: list[Player], ctx: StepContext) -> Graph | None:
        """The update of these players as a graph; None where there is none, or not yet. Each evaluation asks once."""
        key = tuple(player.name for player in players)
        phase = tuple(player.before.phase(self._nets) for player in players if isinstance(player.before, PhasedHook))
        if self._phases.setdefault(key, phase) != phase:
            # The graphs of the phase that has ended are not needed any more, nor is their memory.
            self._phases[key] = phase
            self._forget(key)
        self._evaluations[key] += 1
        graphs = self.found.get(key, [])
        step = cast(int, ctx.step)
        is_tried = self.are_on and self._evaluations[key] >= WARM and key not in self.refused
        if is_tried and not any(graph.step.suits(step) for graph in graphs):
            try:
                graphs = self.found[key] = [*graphs, self._capture(players, ctx)]
            except FailedCapture as error:
                self.refused[key] = str(error)
                self.found.clear()
                self.are_on = False
                return None
            except CannotCapture as error:
                self.refused[key] = str(error)
        return next((graph for graph in graphs if graph.step.suits(step)), None)

    def refusals(self) -> list[str]:
        """Sentences about updates that were refused since the last call; on a GPU, where a graph is several times as fast."""
        if self._device.type != "cuda":
            return []
        news = {key: reason for key, reason in self.refused.items() if self._said.get(key) != reason}
        self._said |= news
        return [_refusal(key, reason) for key, reason in news.items()]

    def _forget(self, key: tuple[str, ...]) -> None:
        """Begin anew with an update."""
        self._evaluations[key] = 0
        self.found.pop(key, None)
        self.refused.pop(key, None)
        self.refused.pop((*key, "whole"), None)

    def _capture(self, players: list[Player], ctx: StepContext) -> Graph:
        """Raises CannotCapture."""
        if self._device.type == "cpu":
            return Captured(self._compute, self.places, self._parameters, players, ctx)
        optimisers = [self._optimisers[player.name] for player in players]
        states = [values for optimiser in optimisers for values in optimiser.state.values()]
        changed = [*self.places.values(), *(value for state in states for value in state.values() if isinstance(value, Tensor))]

        def capture(move: Move | None) -> Graph:
            return CudaGraph(self._compute, changed, optimisers, self._parameters, players, ctx, move)

        if self._gate is always and all(map(is_fixed, players, optimisers)):
            try:
                return capture(partial(self._apply, players))
            except FailedCapture:
                raise
            except CannotCapture as error:
                self.refused[(*(player.name for player in players), "whole")] = str(error)
        return capture(None)


def _refusal(key: tuple[str, ...], reason: str) -> str:
    players = " and ".join(name for name in key if name != "whole")
    what = "steps of the optimiser" if "whole" in key else "update"
    return f"{players}: {what} without a CUDA graph, {reason.partition(chr(10))[0]}"
