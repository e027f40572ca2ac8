"""An update as one CUDA graph: losses, gradients and, where nothing stands in the way, the optimisers' steps, by one launch."""

from __future__ import annotations

import gc
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import cast

import torch
from torch import Tensor

from training.game.captured import REFUSALS, CannotCapture, Compute, on_samples, samples_of
from training.game.evaluation import Evaluation
from training.game.optimisers import RMSpropTF
from training.game.recipe import Player
from training.game.step import AnyStep, StepContext

Move = Callable[[Evaluation], None]
"""Takes the optimisers' steps of an evaluated update."""
NEAR, ROUNDING = 10, 1e-6
"""Where an update is not repeatable, its graph may differ by this many times as much as a second update, and this share."""
FIXED = (torch.optim.Adam, torch.optim.SGD, RMSpropTF)
"""Optimisers whose step is the same operations on the same numbers each time: what they count, they count on the device."""


def is_fixed(player: Player, optimiser: torch.optim.Optimizer) -> bool:
    """Whether a graph may take the player's step: no number of it changes, and nothing follows it."""
    return player.hyperparameters is None and player.after is None and type(optimiser) in FIXED


class FailedCapture(CannotCapture):
    """CUDA refused the recording half way. No other graph of the game may be used from then on, see decision 34."""


class CudaGraph:
    """Computes an update of some players on a GPU; the same bits as without a graph."""

    def __init__(
        self,
        compute: Compute,
        changed: Sequence[Tensor],
        optimisers: Sequence[torch.optim.Optimizer],
        parameters: Mapping[str, Sequence[Tensor]],
        players: list[Player],
        ctx: StepContext,
        move: Move | None,
    ) -> None:
        """Record the kernels of an update, and see that the graph computes what they compute.

        Args:
            compute: computes losses and logged scalars.
            changed: every tensor that an update may change: weights, buffers, states of the optimisers.
            optimisers: those of the players.
            parameters: weights of each player.
            players: the players of the update.
            ctx: its samples.
            move: takes the optimisers' steps inside the graph; None leaves them to the caller.

        Raises:
            CannotCapture: the message says why; FailedCapture: no other graph may be used any more.
        """
        self._compute, self._parameters, self._players, self._move = compute, parameters, players, move
        self._inputs = [tensor.clone() for tensor in samples_of(ctx)]
        self.step = AnyStep(cast(int, ctx.step), has_inputs=True)
        self._graph = torch.cuda.CUDAGraph()
        try:
            with _kept(changed), _capturable(optimisers):
                self._dry_run(ctx)
            expected = self._results(ctx, changed)
            with _kept(changed), _capturable(optimisers):
                outputs = self._capture(ctx)
                self._graph.replay()
                found = _copies([*outputs, *changed])
            is_exact = all(map(torch.equal, expected, found))
            if not is_exact and not _are_as_near(found, expected, self._results(ctx, changed)):
                raise CannotCapture("the graph computes something else")
        except (*REFUSALS, AssertionError) as error:
            raise CannotCapture(str(error)) from error
        rest = iter(outputs)
        self._losses = {name: next(rest) for name in self._names}
        self._gradients = {
            player.name: tuple(next(rest) if is_used else None for is_used in self._are_used[player.name])
            for player in (() if move else players)
        }
        self._logged = next(rest)

    def __call__(self, ctx: StepContext) -> Evaluation:
        """The update's evaluation; with ``move`` the optimisers have taken their steps."""
        torch._foreach_copy_(self._inputs, samples_of(ctx))
        self.step.fill(cast(int, ctx.step))
        self._graph.replay()
        # The graph's own tensors are overwritten by the next update.
        logged = dict(zip(self._scalars, self._logged.clone().unbind(), strict=True))
        return Evaluation(self._losses, logged, self._gradients, is_applied=self._move is not None)

    def _results(self, ctx: StepContext, changed: Sequence[Tensor]) -> list[Tensor]:
        """What the update gives and changes without a graph; everything is then as it was."""
        with _kept(changed):
            return _copies([*self._record(ctx, ctx.step), *changed])

    def _dry_run(self, ctx: StepContext) -> None:
        """The update as the graph will compute it, in which nothing may wait for the GPU or draw on the CPU."""
        drawn = torch.get_rng_state()
        with _never_waiting():
            self._record(ctx, self.step)
        if not torch.equal(torch.get_rng_state(), drawn):
            raise CannotCapture("the update draws numbers on the CPU")

    def _capture(self, ctx: StepContext) -> list[Tensor]:
        # Autograd hands a weight's gradient to the stream on which the first live operation on that weight was called. One that
        # garbage keeps alive would be of the default stream, which a capture must not touch.
        gc.collect()
        try:
            # Other threads may allocate meanwhile. A recording that fails leaves its own stream the current one.
            with (
                torch.cuda.stream(torch.cuda.current_stream()),
                torch.cuda.graph(self._graph, capture_error_mode="thread_local"),
            ):
                return self._record(ctx, self.step)
        except (*REFUSALS, AssertionError) as error:
            # It also leaves the generator believing that it goes on. Graphs that were recorded before draw from the old state.
            generator = torch.cuda.default_generators[torch.cuda.current_device()]
            generator.graphsafe_set_state(torch.Generator(generator.device).graphsafe_get_state())
            raise FailedCapture(str(error)) from error

    def _record(self, ctx: StepContext, step: int | AnyStep) -> list[Tensor]:
        """Losses, gradients where they are needed outside, and all logged scalars as one tensor."""
        evaluation = Evaluation(*self._compute(self._players, on_samples(ctx, iter(self._inputs), step)))
        gradients = {
            player.name: evaluation.gradient(player, self._parameters[player.name], is_last=player is self._players[-1])
            for player in self._players
        }
        self._names, self._scalars = tuple(evaluation.losses), tuple(evaluation.logged)
        if any(value.dtype != torch.float32 or value.ndim for value in evaluation.logged.values()):
            raise CannotCapture("a logged value is no float32 scalar")
        self._are_used = {name: [value is not None for value in gradient] for name, gradient in gradients.items()}
        flat = [] if self._move else [value for gradient in gradients.values() for value in gradient if value is not None]
        if self._move:
            self._move(Evaluation(evaluation.losses, evaluation.logged, gradients))
        logged = torch.stack([value.detach() for value in evaluation.logged.values()])
        return [*(loss.detach() for loss in evaluation.losses.values()), *flat, logged]


def _copies(tensors: Sequence[Tensor]) -> list[Tensor]:
    return [tensor.detach().clone() for tensor in tensors]


def _are_as_near(found: Sequence[Tensor], expected: Sequence[Tensor], again: Sequence[Tensor]) -> bool:
    """Whether ``found`` is about as near to the results as ``again``, a second computation that must differ, too."""
    if all(map(torch.equal, expected, again)):
        return False
    for graph, eager, other in zip(found, expected, again, strict=True):
        away, usual = (torch.linalg.vector_norm((result - eager).double()) for result in (graph, other))
        if not away <= NEAR * usual + ROUNDING * torch.linalg.vector_norm(eager.double()):
            return False
    return True


@contextmanager
def _kept(changed: Sequence[Tensor]) -> Iterator[None]:
    """Give the tensors and the generators back what they held before."""
    before = [value.detach().clone() for value in changed]
    drawn, drawn_on_cpu = torch.cuda.get_rng_state(), torch.get_rng_state()
    try:
        yield
    finally:
        with torch.no_grad():
            for value, kept in zip(changed, before, strict=True):
                value.copy_(kept)
        torch.cuda.set_rng_state(drawn)
        torch.set_rng_state(drawn_on_cpu)


@contextmanager
def _never_waiting() -> Iterator[None]:
    """Operations that wait for the GPU raise RuntimeError."""
    mode = torch.cuda.get_sync_debug_mode()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch calls the mode a prototype that does not see every such operation
        torch.cuda.set_sync_debug_mode("error")
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode(mode)


@contextmanager
def _capturable(optimisers: Sequence[torch.optim.Optimizer]) -> Iterator[None]:
    """Tell torch's optimisers that a graph is recorded; fused ones compute the same with and without."""
    groups = [group for optimiser in optimisers for group in optimiser.param_groups if "capturable" in group]
    before = [group["capturable"] for group in groups]
    for group in groups:
        group["capturable"] = True
    try:
        yield
    finally:
        for group, value in zip(groups, before, strict=True):
            group["capturable"] = value
