"""Progressive GAN: both nets grow from 4x4 to the image, level by level; with minibatch standard deviation and without."""

from __future__ import annotations

from contract import Latents, Normal
from training.game.optimisers import adam
from training.game.recipe import Ema, Nets, Player, Recipe
from training.game.schedules import alternate
from training.losses.growing import on_faded_reals
from training.losses.wasserstein import d_wasserstein, g_wasserstein
from training.nets.growing import GrowingDiscriminator, GrowingGenerator, Grown, Growth, Widths, whole
from training.penalties import drift, gradient_penalty

KARRAS = "Karras et al. 2018, arXiv:1710.10196; tkarras/progressive_growing_of_gans"


def progan(
    name: str,
    summary: str,
    *,
    z: int,
    widths: tuple[Widths, Widths],
    batch: int,
    images: int,
    steps: int,
    rates: tuple[float, float] = (1e-3, 1e-3),
    has_deviation: bool = True,
    has_growth: bool = True,
) -> Recipe:
    """WGAN-GP with drift, Adam with betas (0, .99), an average of .999 a step; D and G in turns.

    Args:
        name: name of the recipe.
        summary: one line.
        z: size of the latent.
        widths: channels of G and of D.
        batch: reals of a step.
        images: reals for which each level is stable, and then the same number while the next one fades in.
        steps: number of steps.
        rates: Adam's rates of D and of G.
        has_deviation: whether D sees the standard deviation of its minibatch.
        has_growth: whether the nets grow; else they have their full size from the start.
    """
    d_optimiser, g_optimiser = (adam(rate, (0.0, 0.99)) for rate in rates)
    growth = Growth(stable=images // batch, fading=images // batch) if has_growth else whole

    def nets(shape: tuple[int, ...], latents: Latents) -> Nets:
        return {
            "G": GrowingGenerator(z, shape, widths[0]),
            "D": GrowingDiscriminator(shape, widths[1], has_deviation=has_deviation),
        }

    d_loss = on_faded_reals(d_wasserstein + gradient_penalty(10) + drift(1e-3))
    return Recipe(
        name=name,
        summary=summary,
        paper=KARRAS,
        data="stackedmnist",
        size=32,
        latents=lambda classes: {"z": Normal(z)},
        nets=nets,
        players=(
            Player(name="D", nets=("D",), loss=d_loss, optimiser=d_optimiser, before=growth, has_idle_weights=True),
            Player(name="G", nets=("G",), loss=g_wasserstein, optimiser=g_optimiser, before=growth, has_idle_weights=True),
        ),
        schedule=alternate(),
        ema=Ema(0.999),
        batch=batch,
        steps=steps,
        sampler=lambda nets: Grown(nets["G"]),
        log_every=100,
    )


FULL = Widths(8192, 512)
G_SMALL, D_SMALL = Widths(256, 64), Widths(64, 16)
"""The small D has a quarter of G's channels: one that covers all modes without help would show nothing."""

RECIPES = tuple(
    recipe
    for suffix, summary, has_deviation, has_growth in (
        ("", "nets that grow from 4x4 to 32x32 on StackedMNIST", True, True),
        ("_no_deviation", "the same without minibatch standard deviation: what shows its use", False, True),
        ("_whole", "the same at full size from the start: what growth is compared with", True, False),
    )
    for recipe in (
        progan(
            f"progan{suffix}",
            f"{summary}, the published sizes",
            z=512,
            widths=(FULL, FULL),
            batch=64,
            images=600_000,
            steps=12_000_000 // 64,
            has_deviation=has_deviation,
            has_growth=has_growth,
        ),
        progan(
            f"progan{suffix}_small",
            f"{summary}, for two cores, D of low capacity",
            z=64,
            widths=(G_SMALL, D_SMALL),
            batch=64,
            images=64 * 600,
            steps=8000,
            rates=(3e-3, 6e-4),
            has_deviation=has_deviation,
            has_growth=has_growth,
        ),
    )
)
