"""VAEGAN on MNIST, kept in balance by its gate, and the plain VAE with the same nets that it is measured against."""

from __future__ import annotations

from contract import Latents, Normal
from training.game.gates import equilibrium
from training.game.optimisers import PowerDecay, adam, rmsprop
from training.game.recipe import Nets, Player, Recipe
from training.game.schedules import simultaneous
from training.losses.variational import d_weighted, divergence, g_variational, likeness, pixelwise
from training.nets import variational

LARSEN = "Larsen et al. 2016, arXiv:1512.09300; andersbll/autoencoding_beyond_pixels"
CODE = 128
BATCH = 64
GAMMA = 1e-2
"""Weight of likeness in G's loss, against 1 - gamma of fooling D; 1e-5 in cifar_aegan.py."""
REAL_WEIGHT, TARGET, MARGIN = 0.5, 0.68, 0.35
FALL = PowerDecay(0.025 / BATCH, 1e-5 / BATCH, 0.75)
EPSILON = 1e-8 / BATCH
"""deeppy's, for a loss that is summed over the batch there and averaged here."""
EPOCHS, PER_EPOCH = 150, 250


def vaegan(name: str, *, width: int, steps: int, summary: str, is_saturating: bool = True) -> Recipe:
    """Encoder, decoder and discriminator of convolutions; likeness is measured in the third of D's.

    Nets, rates and gate are those of the authors' program for CIFAR-10; their programs for MNIST have no encoder. D classifies
    reals and samples of the prior, as in every program of the authors; the paper's algorithm 1 shows it the
    reconstructions, too. ``is_saturating`` is G's zero-sum loss, as published.
    """

    def nets(shape: tuple[int, ...], latents: Latents) -> Nets:
        return {
            "E": variational.encoder(shape, CODE, width=width),
            "G": variational.decoder(CODE, shape, width=width),
            "D": variational.discriminator(shape, width=width),
        }

    optimiser = rmsprop(FALL.start, decay=0.9, epsilon=EPSILON)
    losses = {
        "E": divergence + likeness,
        "G": g_variational(GAMMA, is_saturating=is_saturating),
        "D": d_weighted(REAL_WEIGHT),
    }
    return Recipe(
        name=name,
        summary=summary,
        paper=LARSEN,
        data="mnist",
        latents=lambda classes: {"z": Normal(CODE)},
        nets=nets,
        players=tuple(
            Player(name=role, nets=(role,), loss=loss, optimiser=optimiser, hyperparameters=FALL)
            for role, loss in losses.items()
        ),
        schedule=simultaneous("E", "G", "D"),
        gate=equilibrium(TARGET, MARGIN),
        batch=BATCH,
        steps=steps,
        pixels="unit",
        log_every=100,
    )


def vae(name: str, *, width: int, steps: int, summary: str) -> Recipe:
    """Encoder and decoder of VAEGAN, trained as one player by divergence and cross entropy of pixels."""

    def nets(shape: tuple[int, ...], latents: Latents) -> Nets:
        g = variational.decoder(CODE, shape, width=width)
        return {"E": variational.encoder(shape, CODE, width=width), "G": g}

    return Recipe(
        name=name,
        summary=summary,
        paper="Kingma and Welling 2014, arXiv:1312.6114; nets of arXiv:1512.09300's code",
        data="mnist",
        latents=lambda classes: {"z": Normal(CODE)},
        nets=nets,
        players=(Player(name="EG", nets=("E", "G"), loss=divergence + pixelwise, optimiser=adam(1e-3)),),
        schedule=simultaneous("EG"),
        batch=BATCH,
        steps=steps,
        pixels="unit",
        log_every=100,
    )


FULL_WIDTH, FULL_STEPS = 64, EPOCHS * PER_EPOCH
SMALL_WIDTH, SMALL_STEPS = 16, 10_000
NARROW = "the same, a quarter as wide, a quarter as long"
RECIPES = (
    vaegan("vaegan", width=FULL_WIDTH, steps=FULL_STEPS, summary="an auto-encoder that measures likeness in D's features"),
    vaegan("vaegan_small", width=SMALL_WIDTH, steps=SMALL_STEPS, summary=NARROW),
    vaegan(
        "vaegan_ns",
        width=FULL_WIDTH,
        steps=FULL_STEPS,
        is_saturating=False,
        summary="VAEGAN with the non-saturating loss for G",
    ),
    vaegan("vaegan_ns_small", width=SMALL_WIDTH, steps=SMALL_STEPS, is_saturating=False, summary=NARROW),
    vae("vae", width=FULL_WIDTH, steps=FULL_STEPS, summary="the plain VAE with VAEGAN's nets"),
    vae("vae_small", width=SMALL_WIDTH, steps=SMALL_STEPS, summary=NARROW),
)
