"""Wasserstein GANs: with a critic whose weights are clipped, and with one whose gradient is held near one."""

from __future__ import annotations

from contract import Latents, Normal
from training.game.optimisers import Clip, adam, rmsprop
from training.game.recipe import Nets, Player, Recipe, d_and_g
from training.game.schedules import alternate, critic_first
from training.losses.wasserstein import d_wasserstein, g_wasserstein
from training.nets import wasserstein as nets_of
from training.penalties import gradient_penalty

ARJOVSKY = "Arjovsky et al. 2017, arXiv:1701.07875; martinarjovsky/WassersteinGAN"
GULRAJANI = "Gulrajani et al. 2017, arXiv:1704.00028; igul222/improved_wgan_training"
PENALISED = adam(1e-4, (0.5, 0.9))


def wgan(name: str, summary: str, *, data: str, width: int, steps: int) -> Recipe:
    """main.py: DCGAN nets of multiples of 16, weights clipped before each of the critic's moves, RMSProp at 5e-5."""

    def nets(shape: tuple[int, ...], latents: Latents) -> Nets:
        return {"G": nets_of.wgan_generator(100, shape, width=width), "D": nets_of.wgan_critic(shape, width=width)}

    return Recipe(
        name=name,
        summary=summary,
        paper=ARJOVSKY,
        data=data,
        size=32,
        latents=lambda classes: {"z": Normal(100)},
        nets=nets,
        players=(
            Player(name="D", nets=("D",), loss=d_wasserstein, optimiser=rmsprop(5e-5), before=Clip(0.01)),
            Player(name="G", nets=("G",), loss=g_wasserstein, optimiser=rmsprop(5e-5)),
        ),
        schedule=critic_first(5),
        batch=64,
        steps=steps,
    )


def wgan_gp(name: str, summary: str, *, data: str, width: int, steps: int) -> Recipe:
    """gan_mnist.py in its mode "wgan-gp": no batch normalisation, five moves of the critic to one of G."""

    def nets(shape: tuple[int, ...], latents: Latents) -> Nets:
        g = nets_of.penalised_generator(128, shape, width=width)
        return {"G": g, "D": nets_of.penalised_critic(shape, width=width)}

    return Recipe(
        name=name,
        summary=summary,
        paper=GULRAJANI,
        data=data,
        latents=lambda classes: {"z": Normal(128)},
        nets=nets,
        players=d_and_g(d_wasserstein + gradient_penalty(10), g_wasserstein, PENALISED),
        schedule=alternate(5),
        batch=50,
        steps=steps,
        pixels="unit",
    )


def wgan_gp_ring8(name: str, summary: str) -> Recipe:
    """gan_toy.py on eight Gaussians; theirs lie on a circle of radius 1.41 with sd .014, ours of radius 1 with .01."""

    def nets(shape: tuple[int, ...], latents: Latents) -> Nets:
        return {"G": nets_of.toy_generator(shape, width=512), "D": nets_of.toy_critic(shape, width=512)}

    return Recipe(
        name=name,
        summary=summary,
        paper=GULRAJANI,
        data="ring8",
        latents=lambda classes: {"z": Normal(2)},
        nets=nets,
        players=d_and_g(d_wasserstein + gradient_penalty(0.1), g_wasserstein, PENALISED),
        schedule=alternate(5),
        batch=256,
        steps=100_000,
        log_every=100,
    )


RECIPES = (
    wgan("wgan", "WGAN on 32x32 grey images, the critic's weights clipped", data="mnist", width=64, steps=20_000),
    wgan("wgan_small", "the same a quarter as wide on 5,000 digits", data="mnist5k", width=16, steps=4000),
    wgan_gp("wgan_gp", "WGAN with gradient penalty on 28x28 grey images", data="mnist", width=64, steps=200_000),
    wgan_gp("wgan_gp_small", "the same a quarter as wide on 5,000 digits", data="mnist5k", width=16, steps=6000),
    wgan_gp_ring8("wgan_gp_ring8", "WGAN with gradient penalty on eight Gaussians on a circle"),
)
