"""An update of small nets as one graph: losses, gradients and logged scalars, without Python between the operations."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.fx import GraphModule
from torch.fx.experimental.proxy_tensor import make_fx
from torch.fx.graph import CodeGen

from training.game.evaluation import Evaluation
from training.game.places import Places
from training.game.ranks import Gradient
from training.game.recipe import Player
from training.game.step import AnyStep, Batch, StepContext

Tensors = dict[str, Tensor]
Compute = Callable[[list[Player], StepContext], tuple[Tensors, Tensors]]
"""From the players and samples of an update to each player's loss and the logged scalars."""
LARGEST = 1_000_000
"""Weights of the nets of a game at most: of larger ones the operations take longer than calling them."""
NOT_DENSE = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.ConvTranspose2d, nn.RNNBase, nn.Embedding)


REFUSALS = (RuntimeError, TypeError, ValueError, AttributeError)
"""What torch's tracing and ``torch.vmap`` raise at an operation that they cannot represent."""


class CannotCapture(Exception):
    """The update does not always compute the same operations, or TorchScript lacks one of them."""


def samples_of(ctx: StepContext) -> list[Tensor]:
    """What an update is computed on: its reals, their classes if there are any, and its latents."""
    y = [] if ctx.real.y is None else [ctx.real.y]
    return [tensor.detach() for tensor in (ctx.real.x, *y, *ctx.latents.values())]


def on_samples(ctx: StepContext, tensors: Iterator[Tensor], step: int | AnyStep) -> StepContext:
    """The update on other tensors, in the order of ``samples_of``."""
    real = Batch(next(tensors), None if ctx.real.y is None else next(tensors))
    return ctx.anew(real, {name: next(tensors) for name in ctx.latents}, step=step)


def is_small(nets: Mapping[str, nn.Module]) -> bool:
    """Whether the nets are dense and so small that calling operations takes longer than computing them."""
    modules = [module for net in nets.values() for module in net.modules()]
    return count_weights(nets) <= LARGEST and not any(isinstance(module, NOT_DENSE) for module in modules)


def count_weights(nets: Mapping[str, nn.Module]) -> int:
    """Weights of all nets."""
    return sum(parameter.numel() for net in nets.values() for parameter in net.parameters())


class Captured:
    """Computes an update of some players; the same bits as without a graph."""

    def __init__(
        self,
        compute: Compute,
        places: Places,
        parameters: Mapping[str, Sequence[Tensor]],
        players: list[Player],
        ctx: StepContext,
    ) -> None:
        """Record the operations of an update, and see that the graph computes what they compute.

        Args:
            compute: what is recorded.
            places: places of the nets' weights and buffers.
            parameters: weights of each player.
            players: the players of the update.
            ctx: its samples.

        Raises:
            CannotCapture: the message says why.
        """
        self._compute, self._places, self._players = compute, places, players
        self.step = AnyStep(cast(int, ctx.step), has_inputs=False)
        values = places.values()
        self._own = [[_index(values, weight) for weight in parameters[player.name]] for player in players]
        self._names: tuple[list[str], list[str]] = ([], [])
        inputs = self._inputs(ctx, [value.clone() for value in values])
        again = [tensor.clone() for tensor in inputs]
        state = torch.get_rng_state()
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # TorchScript is deprecated; there is no other graph without a compiler
                flat = make_fx(lambda *tensors: self._record(ctx, tensors, self.step))(*(tensor.clone() for tensor in inputs))
                self._graph = _to_torchscript(flat)
            torch.set_rng_state(state)
            expected = self._record(ctx, inputs, ctx.step)
            torch.set_rng_state(state)
            found = self._run(again)
        except REFUSALS as error:
            raise CannotCapture(str(error)) from error
        finally:
            torch.set_rng_state(state)
        if not all(torch.equal(a, b) for a, b in zip([*expected, *inputs], [*found, *again], strict=True)):
            raise CannotCapture("the graph computes something else")

    def __call__(self, ctx: StepContext) -> Evaluation:
        """The update's evaluation, with each player's gradient."""
        outputs = iter(self._run(self._inputs(ctx, self._places.values())))
        losses = {name: next(outputs) for name in self._names[0]}
        gradients: dict[str, Gradient] = {
            player.name: tuple(next(outputs) for _ in own) for player, own in zip(self._players, self._own, strict=True)
        }
        return Evaluation(losses, {name: next(outputs) for name in self._names[1]}, gradients)

    def _run(self, inputs: Sequence[Tensor]) -> Sequence[Tensor]:
        with torch.no_grad(), torch.jit.optimized_execution(False):  # type: ignore[attr-defined]
            return cast(Sequence[Tensor], self._graph(*inputs))

    def _inputs(self, ctx: StepContext, values: list[Tensor]) -> list[Tensor]:
        return [*(value.detach() for value in values), *samples_of(ctx)]

    def _record(self, ctx: StepContext, tensors: Sequence[Tensor], step: int | AnyStep) -> tuple[Tensor, ...]:
        """What the graph computes, from what ``_inputs`` lists."""
        rest = iter(tensors)
        values = [next(rest).detach().requires_grad_(value.requires_grad) for value in self._places.values()]
        with self._places.holding(values):
            losses, logged = self._compute(self._players, on_samples(ctx, rest, step))
            gradients = [
                torch.autograd.grad(
                    losses[player.name].sum(), [values[i] for i in own], retain_graph=player is not self._players[-1]
                )
                for player, own in zip(self._players, self._own, strict=True)
            ]
        self._names = (list(losses), list(logged))
        flat = (*losses.values(), *(value for gradient in gradients for value in gradient), *logged.values())
        return tuple(value.detach() for value in flat)


def _to_torchscript(module: GraphModule) -> Any:
    """A recorded module without Python; TorchScript chooses the overloads of operations itself."""
    module.graph.set_codegen(CodeGen())
    for node in module.graph.nodes:
        if isinstance(node.target, torch._ops.OpOverload):
            node.target = node.target.overloadpacket
        if node.target is torch.ops.aten._to_copy and isinstance(node.args[0], int | float):
            node.target = torch.ops.aten.scalar_tensor  # a number, which vmap takes for a tensor
        node.kwargs = {k: v.type if isinstance(v, torch.device) else v for k, v in node.kwargs.items()}
    module.recompile()
    return torch.jit.script(module)


def _index(values: Sequence[Tensor], weight: Tensor) -> int:
    return next(index for index, value in enumerate(values) if value is weight)
