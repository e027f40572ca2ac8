"""The 25 systems of this project, and the recipes of each."""

from __future__ import annotations

from dataclasses import dataclass

from contract import parameters
from training.game.recipe import Recipe
from training.recipes import CATALOGUE


@dataclass(frozen=True)
class System:
    """One system of the tutorials and papers that this project began with."""

    name: str
    source: str
    """Where it is described."""
    recipes: tuple[str, ...]
    """Recipes of it by name, the main one first; those with ``_small`` belong to it too."""
    command: str | None = None
    """What does it in the place of a route; None where samples are served."""

    @property
    def main(self) -> Recipe:
        """The recipe that it is trained by, or the small one where there is no other."""
        name = self.recipes[0]
        return CATALOGUE[name if name in CATALOGUE else f"{name}_small"]

    @property
    def names(self) -> tuple[str, ...]:
        """All its recipes in the catalogue."""
        return tuple(name for name in CATALOGUE if name.removesuffix("_small") in self.recipes)


LOSSES = tuple(f"{name}{bare}" for name in ("ls_gan", "gls_gan") for bare in ("", "_bare", "_bare_g"))
SYSTEMS = (
    System("GAN", "Goodfellow et al. 2014, both forms of G's loss", ("vanilla", "vanilla_log", "goodfellow")),
    System("completion", "Yeh et al. 2017; Amos' tutorial", ("dcgan", "cdcgan_r1"), command="python -m training complete"),
    System("maxout GAN", "ReNom's tutorial, zero-sum form too", ("renom", "renom_minimax")),
    System("progressive GAN", "Karras et al. 2018", ("progan", "progan_no_deviation", "progan_whole")),
    System("pix2pix", "Isola et al. 2017", ("pix2pix", "pix2pix_l1")),
    System("1-D toy", "Glover's tutorial", ("toy1d", "toy1d_clamped", "toy1d_fitted")),
    System(
        "minibatch discrimination",
        "Salimans et al. 2016",
        ("toy1d_minibatch", "toy1d_minibatch_clamped", "toy1d_minibatch_fitted"),
    ),
    System("gates", "update only the worse net; Larsen's and PPGN's rules", ("vanilla_minimax", "vanilla_d5")),
    System("GMAN", "Durugkar et al. 2017", ("gman", "gman_mean", "gman_max", "gman_modified", "gman_one")),
    System("several generators", "each player's score a sum over its adversaries", ("several_generators", "single_generator")),
    System("conditional AAE", "Zhang et al. 2017", ("caae", "caae_narrow")),
    System("conditional GAN", "Mirza and Osindero 2014", ("cgan",)),
    System("2-D GAN", "Paperspace's tutorial", ("parabola", "parabola_norm")),
    System(
        "DCGAN", "Radford et al. 2016", ("dcgan64", "dcgan", "dcgan32", "dcgan_torch", "dcgan_torch_bare", "dcgan_torch_bare_g")
    ),
    System("conditional DCGAN", "Radford et al. 2016, 1-NN error", ("cdcgan",)),
    System("InfoGAN", "Chen et al. 2016", ("infogan",)),
    System("WGAN", "Arjovsky et al. 2017", ("wgan",)),
    System("WGAN-GP", "Gulrajani et al. 2017", ("wgan_gp", "wgan_gp_ring8")),
    System("LAPGAN", "Denton et al. 2015", ("lapgan", "lapgan_single")),
    System("PPGN", "Nguyen et al. 2017", ("ppgn",)),
    System("LS-GAN, GLS-GAN", "Qi 2017", LOSSES),
    System("SeqGAN", "Yu et al. 2017", ("seqgan", "seqgan_mle")),
    System("EBGAN", "Zhao et al. 2017", ("ebgan", "ebgan_pt")),
    System("VAEGAN", "Larsen et al. 2016", ("vaegan", "vaegan_ns", "vae")),
    System(
        "semi-supervised GAN",
        "Salimans et al. 2016",
        ("salimans", "salimans_20", "salimans_50", "salimans_200", "salimans_supervised"),
    ),
)
OURS = (
    "cdcgan_r1",
    *("r3gan", "r3gan_plain", "gan_r1_r2_plain"),
    *(f"{gan}_{toy}" for toy in ("ring8", "grid25") for gan in ("gan", "pacgan2", "pacgan3", "pacgan4")),
    *("least_squares", "least_squares_bare", "least_squares_bare_g", "least_squares_ring8", "cross_entropy_ring8"),
    *("dcgan64_r1", "r3gan64"),
)
"""Recipes of no such system: the default, the modern baseline, and what others are compared with."""


def served(system: System) -> str:
    """How a client gets its output: the route with the parameters that it declares, or the command."""
    if system.command:
        return f"`{system.command}`"
    recipe = system.main
    query = "".join(f"{'&' if place else '?'}{name}=" for place, name in enumerate(parameters(recipe.latents(10))))
    routes = [f"`GET /generate{query}`"] if not recipe.needs_picture else []
    return ", ".join([*routes, *([f"`POST /transform{query}`"] if recipe.picture else [])])
