"""SeqGAN: sequences of tokens by policy gradient, on text whose true likelihood is known."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import cast

import torch
from torch import Tensor, nn

from contract import Latents, Uniform
from training.data.oracle import ORACLE, ORACLE_SMALL, Oracle
from training.game.optimisers import adam, clipped
from training.game.recipe import Nets, Player, Recipe
from training.game.schedules import Schedule, Update, phases
from training.game.step import Batch
from training.losses.adversarial import d_nonsaturating
from training.losses.sequences import d_last_l2, follow, negative_log_likelihood, policy_gradient
from training.nets.sequences import SequenceDiscriminator, SequenceGenerator, filters_within

FILTERS = tuple(
    zip((1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 15, 20), (100, 200, 200, 200, 200, 100, 100, 100, 100, 100, 160, 160), strict=True)
)
"""Width and number of D's filters in the authors' code."""
FILTERS_SMALL = ((1, 32), (2, 64), (3, 64), (4, 32), (5, 32), (8, 32), (10, 32))

LIKELIHOOD = Schedule("likelihood", lambda step: (Update(("MLE",)),))
DISCRIMINATOR = Schedule("D", lambda step: (Update(("D",)),))


def _adversarial(critic_steps: int) -> Schedule:
    """G once, then D ``critic_steps`` times, each on new fakes."""
    updates = (Update(("G",), is_new_batch=False), *(Update(("D",)),) * critic_steps)
    return Schedule(f"G then {critic_steps} x D", lambda step: updates)


def seqgan(
    name: str,
    oracle: Oracle,
    *,
    summary: str,
    filters: tuple[tuple[int, int], ...],
    phase_steps: tuple[int, int, int],
    critic_steps: int,
    copies: int,
    critic_rate: float,
    policy_rate: float = 0.01,
    draws: int = 1,
    width: int = 32,
    has_baseline: bool = False,
) -> Recipe:
    """Maximum likelihood, then D alone, then the game.

    Args:
        name: name of the recipe.
        oracle: source of the sequences.
        summary: one line.
        filters: width and number of D's filters.
        phase_steps: steps of likelihood, of D alone, and of the game.
        critic_steps: updates of D after each of G.
        copies: completions of each prefix.
        critic_rate: D's rate.
        policy_rate: G's rate in the game.
        draws: batches of sequences in one update of G in the game.
        width: size of G's embedding and state.
        has_baseline: subtract the mean reward of each place.
    """

    def nets(shape: tuple[int, ...], latents: Latents) -> Nets:
        (length,) = shape
        g, r = (SequenceGenerator(oracle.vocabulary, length, width=width) for _ in range(2))
        r.load_state_dict(g.state_dict())
        return {
            "G": g,
            "R": r.requires_grad_(False),
            "D": SequenceDiscriminator(oracle.vocabulary, filters_within(length, filters)),
        }

    likelihood, alone, game = phase_steps
    return Recipe(
        name=name,
        summary=summary,
        paper="Yu et al. 2017, arXiv:1609.05473; LantaoYu/SeqGAN",
        data=oracle.name,
        latents=lambda classes: {"u": Uniform(oracle.length, 0.0, 1.0)},
        nets=nets,
        players=(
            Player(
                name="MLE",
                nets=("G",),
                shares_nets=True,
                loss=negative_log_likelihood,
                optimiser=clipped(adam(0.01), 5.0),
                after=follow(0.0),
            ),
            Player(name="D", nets=("D",), loss=d_nonsaturating + 0.2 * d_last_l2, optimiser=adam(critic_rate)),
            Player(
                name="G",
                nets=("G",),
                loss=policy_gradient(copies, draws=draws, has_baseline=has_baseline),
                optimiser=clipped(adam(policy_rate), 5.0),
                after=follow(0.8),
            ),
        ),
        schedule=phases((likelihood, LIKELIHOOD), (alone, DISCRIMINATOR), last=_adversarial(critic_steps)),
        batch=64,
        steps=sum(phase_steps),
        examine=examine,
    )


def likelihood_alone(recipe: Recipe, name: str, summary: str) -> Recipe:
    """The twin that stays with maximum likelihood for as many steps."""
    return replace(
        recipe,
        name=name,
        summary=summary,
        players=(replace(recipe.players[0], after=None),),
        schedule=LIKELIHOOD,
        nets=lambda shape, latents: {"G": recipe.nets(shape, latents)["G"]},
    )


def examine(nets: Mapping[str, nn.Module], test: Batch) -> dict[str, float]:
    """The negative log-likelihood of unseen real sequences under G, nats a token: it rises where G loses variety."""
    g = cast(SequenceGenerator, nets["G"])
    parts: list[Tensor] = [g.log_likelihood(rows).mean(1) for rows in test.x.split(1_000)]
    return {"nll_test": -float(torch.cat(parts).mean())}


SMALL = seqgan(
    "seqgan_small",
    ORACLE_SMALL,
    summary="the same on 10 of 50 tokens, a narrower generator, fewer roll-outs of more sequences",
    filters=FILTERS_SMALL,
    phase_steps=(5_000, 2_000, 250),
    critic_steps=10,
    copies=2,
    critic_rate=1e-3,
    policy_rate=3e-3,
    draws=8,
    width=8,
    has_baseline=True,
)
FULL = seqgan(
    "seqgan",
    ORACLE,
    summary="sequences of tokens: likelihood, then policy gradient with roll-outs",
    filters=FILTERS,
    phase_steps=(18_750, 23_400, 200),
    critic_steps=2_340,
    copies=16,
    critic_rate=1e-4,
)
RECIPES = (
    FULL,
    SMALL,
    likelihood_alone(FULL, "seqgan_mle", "seqgan's generator by maximum likelihood alone: what it is compared with"),
    likelihood_alone(SMALL, "seqgan_mle_small", "the same on 10 of 50 tokens, a narrower generator"),
)
