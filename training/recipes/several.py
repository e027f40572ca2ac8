"""Games with more than two players: GMAN's several discriminators, and several generators against several discriminators."""

from __future__ import annotations

from torch import nn

from contract import Categorical, Latents, Uniform
from training.game.objective import with_roles
from training.game.optimisers import adam
from training.game.priors import from_priors
from training.game.recipe import Nets, Player, Recipe
from training.game.schedules import Schedule, Update, simultaneous
from training.losses.adversarial import d_nonsaturating, g_nonsaturating
from training.losses.several import (
    Mixing,
    against,
    d_squashed,
    g_mixed,
    g_squashed,
    g_squashed_modified,
    on_shard,
)
from training.nets import conv
from training.nets.several import Lambda, Mixture, dropout_keeps, gman_discriminator

DURUGKAR = "Durugkar et al. 2017, arXiv:1611.01673; iDurugkar/GMAN"
WEIGHED = "no paper: each player's score a weighed sum over all its adversaries; nets of DCGAN, arXiv:1511.06434"


def gman(
    name: str,
    count: int,
    mixing: Mixing,
    is_modified: bool = False,
    *,
    width: int = 128,
    each: int = 100,
    steps: int = 25 * 600,
    summary: str,
) -> Recipe:
    """``count`` discriminators, each on its own shard of the batch, against one generator; all move at once.

    Args:
        name: of the recipe.
        count: of discriminators; the paper has 1 to 5.
        mixing: how G weighs them.
        is_modified: V_i is -log D, which does not saturate, in the place of the paper's log(1 - D).
        width: channels of the smallest maps of G and D (``num_hidden`` of the authors' code); half and a quarter of it follow.
        each: samples a discriminator sees.
        steps: of the game.
        summary: one line.
    """
    roles = [f"D{number}" for number in range(1, count + 1)]
    value = g_squashed_modified if is_modified else g_squashed
    values = [on_shard(with_roles(value, D=role), number, count) for number, role in enumerate(roles)]
    is_learned = mixing == "learned"

    def nets(shape: tuple[int, ...], latents: Latents) -> Nets:
        keeps = zip(roles, dropout_keeps(count), strict=True)
        judges: Nets = {role: gman_discriminator(shape, width=width // 4, keep=keep) for role, keep in keeps}
        g = conv.dcgan_generator(100, shape, width=width // 4, last=nn.Tanh())
        return {"G": g, **judges, **({"mix": Lambda()} if is_learned else {})}

    optimiser = adam(2e-4, (0.5, 0.999))
    ds = [
        Player(name=role, nets=(role,), loss=on_shard(with_roles(d_squashed, D=role), number, count), optimiser=optimiser)
        for number, role in enumerate(roles)
    ]
    g_nets = ("G", "mix") if is_learned else ("G",)
    g = Player(name="G", nets=g_nets, loss=g_mixed(values, mixing), optimiser=optimiser)
    return Recipe(
        name=name,
        summary=summary,
        paper=DURUGKAR,
        data="mnist",
        size=32,
        latents=lambda classes: {"z": Uniform(100)},
        nets=nets,
        players=(*ds, g),
        schedule=simultaneous(*roles, "G"),
        batch=each * count,
        least_batch=count,
        steps=steps,
    )


def several_generators(name: str, *, g_count: int, d_count: int, width: int, steps: int, summary: str) -> Recipe:
    """Every generator against every discriminator, each one's loss the mean over its adversaries.

    What is exported is the mixture of all generators, one of them chosen by the categorical latent ``g``: the discriminators
    saw the mixture, so it is what the game drew towards the data. The best alone would need a classifier from outside the game,
    and would leave out what only the others make. A seed draws ``g``; a request may ask for one. One
    generator alone has no ``g``.
    """
    gs = [f"G{number}" for number in range(1, g_count + 1)]
    ds = [f"D{number}" for number in range(1, d_count + 1)]

    def nets(shape: tuple[int, ...], latents: Latents) -> Nets:
        makers: Nets = {role: conv.dcgan_generator(100, shape, width=width, last=nn.Tanh()) for role in gs}
        judges: Nets = {role: conv.dcgan_discriminator(shape, width=width) for role in ds}
        return {**makers, **judges}

    optimiser = adam(2e-4, (0.5, 0.999))
    judges = [Player(name=d, nets=(d,), loss=against(d_nonsaturating, gs, role="G", D=d), optimiser=optimiser) for d in ds]
    makers = [Player(name=g, nets=(g,), loss=against(g_nonsaturating, ds, role="D", G=g), optimiser=optimiser) for g in gs]
    moves = (Update(tuple(ds)), Update(tuple(gs), is_new_batch=False))
    return Recipe(
        name=name,
        summary=summary,
        paper=WEIGHED,
        data="mnist",
        latents=lambda classes: {"z": Uniform(100), **({"g": Categorical(g_count)} if g_count > 1 else {})},
        nets=nets,
        players=(*judges, *makers),
        schedule=Schedule("all discriminators, then all generators", lambda step: moves),
        batch=64,
        steps=steps,
        # In training every generator gets the same z; which one answers is the sampler's affair.
        sample_latents=lambda latents, n, device: from_priors({"z": latents["z"]}, n, device),
        sampler=lambda nets: Mixture([nets[role] for role in gs]) if g_count > 1 else nets["G1"],
    )


KINDS: tuple[tuple[str, Mixing, bool, str], ...] = (
    ("gman", "learned", False, "{} discriminators, G learns how much weight the harshest has (GMAN*)"),
    ("gman_mean", "mean", False, "{} discriminators, G follows their mean (GMAN-0)"),
    ("gman_max", "max", False, "{} discriminators, G follows the harshest alone (GMAN-max)"),
    ("gman_modified", "learned", True, "{} discriminators as in gman, each by the objective that does not saturate"),
    ("gman_one", "mean", True, "{} discriminator by that objective: what GMAN is compared with"),
)
"""Name, how G mixes, whether its objective is the modified one, what it is."""


def _games(suffix: str = "", note: str = "", **size: int) -> list[Recipe]:
    """GMAN of every kind in one size."""
    found = []
    for name, mixing, is_modified, summary in KINDS:
        count, word = (1, "one") if name == "gman_one" else (5, "five")
        found.append(gman(name + suffix, count, mixing, is_modified, summary=summary.format(word) + note, **size))
    return found


RECIPES = (
    *_games(),
    *_games("_small", ", half as wide", width=64, each=64, steps=6000),
    several_generators(
        "several_generators", g_count=2, d_count=2, width=16, steps=8000, summary="two generators against two discriminators"
    ),
    several_generators(
        "single_generator",
        g_count=1,
        d_count=1,
        width=16,
        steps=8000,
        summary="one generator against one discriminator of the same nets: what several are compared with",
    ),
)
