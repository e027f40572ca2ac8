"""SeqGAN (arXiv:1609.05473): likelihood first, then the policy gradient with D's output on roll-outs as the reward."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import cast

import torch
from torch import Tensor, nn

from training.game.objective import Loss, Term, loss
from training.game.step import StepContext
from training.nets.sequences import SequenceDiscriminator, SequenceGenerator, roll_out


@loss
def negative_log_likelihood(ctx: StepContext) -> Tensor:
    """-log G(x), the mean over the tokens of the real batch."""
    return -cast(SequenceGenerator, ctx.nets["G"]).log_likelihood(ctx.real.x).mean()


def policy_gradient(copies: int, *, draws: int = 1, has_baseline: bool = False) -> Loss:
    """-sum over sequences and tokens of log G(y_t | y_<t) Q(y_<t, y_t): equation 8 of the paper.

    Q is the mean of D's probability over ``copies`` completions of y_1..y_t by the roll-out policy, the net ``R``; of a whole
    sequence, D's probability itself. The sum is over ``draws`` batches. With a baseline, the mean of Q over the sequences at
    each place is subtracted. Both lower the gradient's variance.
    """

    def value(ctx: StepContext) -> Tensor:
        tokens = draw_more(ctx, draws)
        d = cast(SequenceDiscriminator, ctx.nets["D"])
        completed = roll_out(cast(SequenceGenerator, ctx.nets["R"]), tokens, copies)
        partial = d.probability(completed.flatten(0, 1)).view(tokens.shape[1] - 1, copies, len(tokens)).mean(1)
        reward = torch.cat([partial, d.probability(tokens)[None]]).T
        ctx.log("reward", reward.mean())
        reward = reward - reward.mean(0) if has_baseline else reward
        return -(cast(SequenceGenerator, ctx.nets["G"]).log_likelihood(tokens) * reward).sum()

    more = f"{f', {draws} batches' if draws > 1 else ''}{', baseline' if has_baseline else ''}"
    return Loss((Term(f"policy_gradient({copies}{more})", value),))


@torch.no_grad()
def draw_more(ctx: StepContext, draws: int) -> Tensor:
    """The fakes of the update and as many more of G that there are ``draws`` times as many."""
    tokens = ctx.fake
    if draws == 1:
        return tokens
    uniforms = torch.rand((draws - 1) * len(tokens), tokens.shape[1], device=tokens.device)
    return torch.cat([tokens, ctx.nets["G"](uniforms)])


@loss
def d_last_l2(ctx: StepContext) -> Tensor:
    """Half the squared norm of D's last layer, bias included."""
    last = cast(nn.Linear, ctx.nets["D"].last)
    return (last.weight.square().sum() + last.bias.square().sum()) / 2


def follow(share: float) -> Callable[..., None]:
    """A hook that moves the roll-out policy towards G: R <- share R + (1 - share) G; the embedding is copied whole."""

    @torch.no_grad()
    def hook(nets: Mapping[str, nn.Module], step: int = 0) -> None:
        for (name, slow), fast in zip(nets["R"].named_parameters(), nets["G"].parameters(), strict=True):
            slow.lerp_(fast, 1.0 if name.startswith("embedding") else 1 - share)

    return hook
