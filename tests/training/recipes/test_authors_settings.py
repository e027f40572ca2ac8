"""What recipes take from their authors' code: widths, rates, schedules, initialisations."""

from __future__ import annotations

import math
import re
from dataclasses import replace

import pytest
import torch
from torch import nn

from contract import Latents
from training.data import load
from training.game.batches import Batches
from training.game.optimisers import AdamInside
from training.nets.several import dropout_keeps
from training.recipes import CATALOGUE
from training.recipes.vanilla import begin_at_the_mean


def nets_of(name: str, shape: tuple[int, ...] = (1, 28, 28), classes: int = 10) -> dict[str, nn.Module]:
    recipe = CATALOGUE[name]
    latents: Latents = recipe.latents(classes)
    return recipe.nets(shape, latents)


def sizes(net: nn.Module, kind: type[nn.Module]) -> list[tuple[int, ...]]:
    """Shapes of the weights of one kind of layer, in order."""
    return [tuple(m.weight.shape) for m in net.modules() if isinstance(m, kind)]  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["dcgan", "ls_gan", "gls_gan", "least_squares", "dcgan_torch"])
def test_the_nets_for_digits_have_a_dense_layer_of_1024(name: str) -> None:
    """Newmu/dcgan_code, mnist: 100 - 1024 - 7x7x128 in G, 7x7x128 - 1024 - 1 in D, each with batch normalisation."""
    nets = nets_of(name)
    g, d = nets["G"], nets["D"]
    assert sizes(g, nn.Linear) == [(1024, 100), (7 * 7 * 128, 1024)]
    assert sizes(d, nn.Linear) == [(1024, 7 * 7 * 128), (1, 1024)]
    assert sizes(g, nn.BatchNorm1d) == [(1024,), (7 * 7 * 128,)]
    assert sizes(d, nn.BatchNorm1d) == [(1024,)]
    assert [w[:2] for w in sizes(g, nn.ConvTranspose2d)] == [(128, 64), (64, 1)]


def test_gman_has_its_authors_widths() -> None:
    """iDurugkar/GMAN, models.py with num_hidden 128: G 128-64-32-1, D 1-32-64-128, five batches of 100."""
    nets = nets_of("gman", (1, 32, 32))
    assert [w[:2] for w in sizes(nets["G"], nn.ConvTranspose2d)] == [(128, 64), (64, 32), (32, 1)]
    assert [w[:2] for w in sizes(nets["D3"], nn.Conv2d)] == [(32, 1), (64, 32), (128, 64)]
    assert CATALOGUE["gman"].batch == 500


@pytest.mark.parametrize(("count", "keeps"), [(1, [0.6]), (5, [0.44, 0.48, 0.52, 0.56, 0.6])])
def test_gman_keeps_what_its_authors_keep(count: int, keeps: list[float]) -> None:
    """GMAN.py: .4 + .2 (i + 1) / N."""
    assert dropout_keeps(count) == pytest.approx(keeps)


def test_goodfellow_is_the_net_of_the_papers_table() -> None:
    """goodfeli/adversarial, mnist.yaml: 100-1200-1200-784 against maxout 240x5, 240x5; a fifth of the pixels dropped."""
    nets = nets_of("goodfellow")
    assert sizes(nets["G"], nn.Linear) == [(1200, 100), (1200, 1200), (784, 1200)]
    assert sizes(nets["D"], nn.Linear) == [(1200, 784), (1200, 240), (1, 240)]
    assert [m.p for m in nets["D"].modules() if isinstance(m, nn.Dropout)] == [0.2, 0.5, 0.5]


def test_goodfellow_begins_at_the_mean_of_all_images() -> None:
    """init_sigmoid_bias_from_marginals: a pixel that is lit in one image of 60,000 counts, whichever image that is."""
    items = torch.zeros(60_000, 1, 1, 1, dtype=torch.uint8)
    items[-1] = 255
    data = replace(load("digits", environ={}), items=items, labels=torch.zeros(len(items), dtype=torch.int64))
    g = nets_of("goodfellow", (1, 1, 1))["G"]
    begin_at_the_mean({"G": g}, Batches(data, 100, seed=0, pixels="unit"), 0)
    last = [m for m in g.modules() if isinstance(m, nn.Linear)][-1]
    assert last.bias.item() == pytest.approx(-math.log(59_999))


@pytest.mark.parametrize("name", ["goodfellow", "cgan", "renom"])
def test_both_players_are_updated_at_once(name: str) -> None:
    """AdversaryCost2 and ReNom's tutorial take both gradients from one forward pass."""
    assert [update.players for update in CATALOGUE[name].schedule.updates(0)] == [("D", "G")]


@pytest.mark.parametrize(("name", "divisor"), [("goodfellow", 1.000004), ("cgan", 1.00004)])
def test_the_rate_is_divided_after_each_update(name: str, divisor: float) -> None:
    """mnist.yaml's 1.000004, CGAN's printed 1.00004, to 1e-6 at least, while momentum rises from .5 to .7."""
    hyperparameters = CATALOGUE[name].players[0].hyperparameters
    assert hyperparameters is not None
    steps = CATALOGUE[name].steps
    assert hyperparameters(0, steps) == {"lr": 0.1, "momentum": 0.5}
    assert hyperparameters(100_000, steps)["lr"] == pytest.approx(0.1 * math.exp(-100_000 * math.log(divisor)))
    assert hyperparameters(steps, steps)["momentum"] == pytest.approx(0.7)


def test_goodfellow_ends_when_its_steps_have_become_small() -> None:
    """rate / (1 - momentum) is as large after 250 epochs as at the beginning, and less than a quarter after 1,000."""
    hyperparameters, steps = CATALOGUE["goodfellow"].players[0].hyperparameters, CATALOGUE["goodfellow"].steps
    assert hyperparameters is not None
    settings = [hyperparameters(step, steps) for step in (0, 125_000, steps)]
    assert [s["lr"] / (1 - s["momentum"]) for s in settings] == pytest.approx([0.2, 0.202, 0.0451], abs=5e-4)


def test_labels_weigh_from_the_start_under_adam() -> None:
    """D's layer on the one-hot label: weights up to .005 as goodfeli/adversarial, 1 / sqrt(10) in the small recipe."""
    largest = [
        max(w.detach().abs().max().item() for w in nets_of(name)["D"].label.parameters()) for name in ("cgan", "cgan_small")
    ]
    assert largest == [pytest.approx(0.005, rel=0.1), pytest.approx(10**-0.5, rel=0.1)]


@pytest.mark.parametrize(("name", "rate"), [("toy1d_fitted", 0.03), ("toy1d_minibatch_fitted", 0.005)])
def test_the_first_toy_descends_by_stairs(name: str, rate: float) -> None:
    """gan-intro at 6fb4cf9: tanh in D, gradient descent, the rate times .95 every 150 updates, 1,200 steps of 12 points."""
    recipe = CATALOGUE[name]
    hyperparameters = recipe.players[0].hyperparameters
    assert hyperparameters is not None
    rates = [hyperparameters(step, recipe.steps)["lr"] for step in (0, 149, 150, 1199)]
    assert rates == pytest.approx([rate, rate, 0.95 * rate, 0.95**7 * rate])
    assert (recipe.batch, recipe.steps) == (12, 1200)
    assert {type(m) for m in nets_of(name, (1,))["D"].modules()} & {nn.Tanh, nn.ReLU} == {nn.Tanh}


@pytest.mark.slow
def test_the_first_toys_d_begins_as_the_density() -> None:
    """Before the game D is above one half at the data and below it a deviation and a half away, by fitting to the density."""
    recipe, data = CATALOGUE["toy1d_fitted"], load("gaussian1d", environ={})
    assert recipe.prepare is not None
    torch.manual_seed(3)
    nets = recipe.nets(data.shape, recipe.latents(0))
    recipe.prepare(nets, Batches(data, recipe.batch, seed=3, pixels=recipe.pixels), 3)
    logits = nets["D"](torch.tensor([[-4.0], [0.0], [3.0], [4.0]])).logit
    assert (logits > 0).tolist() == [False, False, False, True]


@pytest.mark.parametrize(("name", "role"), [("dcgan_torch_bare_small", "G"), ("ls_gan_bare", "G"), ("dcgan_torch_bare", "D")])
def test_without_norm_signals_keep_their_size(name: str, role: str) -> None:
    """He's initialisation: each layer gives the square of its input back, doubled for a ReLU, and the last one as it is."""
    torch.manual_seed(0)
    net = nets_of(name)[role]
    assert not [m for m in net.modules() if isinstance(m, nn.BatchNorm1d | nn.BatchNorm2d)]
    layers = [m for m in net.modules() if isinstance(m, nn.Linear | nn.Conv2d | nn.ConvTranspose2d)]
    gains = list[float]()

    def measure(layer: nn.Module, inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> None:
        inner = (..., slice(2, -2), slice(2, -2)) if output.ndim == 4 else ...  # at the edges fewer inputs count
        gains.append((output[inner].square().mean() / inputs[0].square().mean()).item())

    for layer in layers:
        layer.register_forward_hook(measure)
    if role == "G":
        net(z=torch.rand(64, 100) * 2 - 1)
    else:
        net(torch.randn(64, 1, 28, 28))
    assert gains == pytest.approx([2.0] * (len(layers) - 1) + [1.0], rel=0.35)


def test_a_clipped_d_can_reach_its_margin() -> None:
    """GLS-GAN: with weights within .04, after a normalised layer, D can tell digits apart by more than the margin asks for.

    A unit is .04 n + b, n of mean 0 and variance 1, so its mean moves by at most .4 times .04, and the head adds all of them.
    """
    items = load("mnist5k", environ={}).items[:1000].float() / 127.5 - 1
    distance = (items[:500] - items[500:]).abs().mean().item()
    for name in ("gls_gan", "gls_gan_small"):
        recipe, inputs = CATALOGUE[name], nets_of(name)["D"].inner.head.in_features
        scale = float(re.findall(r"d_margin\(([\d.e-]+)", str(recipe.players[0].loss))[0])
        assert isinstance(inputs, int)
        assert scale * distance < inputs * 0.04 * 0.4 * 0.04 / 2


def test_bare_g_keeps_the_norm_of_d() -> None:
    """The variant without batch normalisation in G alone."""
    nets = nets_of("ls_gan_bare_g_small")
    assert not sizes(nets["G"], nn.BatchNorm2d)
    assert sizes(nets["D"], nn.BatchNorm2d)


def test_the_baseline_of_ls_gan_sees_as_many_reals() -> None:
    """Equal batch and schedule: G moves on D's reals and fakes, 64 at a time."""
    baseline, *others = (CATALOGUE[name] for name in ("dcgan_torch", "ls_gan", "least_squares"))
    assert [(other.batch, other.schedule) for other in others] == [(baseline.batch, baseline.schedule)] * 2


def test_least_squares_on_a_mixture_differ_from_cross_entropy_in_the_losses_alone() -> None:
    """ls.py and sig.py of xudonmao/LSGAN: two tanh layers of 128 units, orthogonal times 1.4, D's rate a tenth of G's."""
    squares, entropy = CATALOGUE["least_squares_ring8"], CATALOGUE["cross_entropy_ring8"]
    assert [str(player.loss) for player in squares.players] == ["d_squares(0, 1)", "g_squares(1)"]
    assert [str(player.optimiser) for player in squares.players] == ["adam(0.0001, (0.5, 0.999))", "adam(0.001, (0.5, 0.999))"]
    assert [player.optimiser.name for player in entropy.players] == [player.optimiser.name for player in squares.players]
    assert (squares.batch, squares.steps, squares.data) == (512, 35_000, "ring8")
    assert (entropy.batch, entropy.steps, entropy.data) == (512, 35_000, "ring8")
    for name in (squares.name, entropy.name):
        nets = nets_of(name, (2,))
        assert sizes(nets["G"], nn.Linear) == [(128, 256), (128, 128), (2, 128)]
        assert sizes(nets["D"], nn.Linear) == [(128, 2), (128, 128), (1, 128)]
        first = next(module for module in nets["G"].modules() if isinstance(module, nn.Linear))
        assert torch.allclose(first.weight @ first.weight.T, 1.96 * torch.eye(128), atol=1e-4)
        assert not first.bias.any()


def test_adam_has_epsilon_inside_the_root() -> None:
    """Two updates by hand: m / (1 - b1^t) over sqrt(v / (1 - b2^t) + eps)."""
    weight = nn.Parameter(torch.tensor([1.0]))
    optimiser = AdamInside([weight], 0.1, (0.5, 0.9), 0.01)
    expected, m, v = 1.0, 0.0, 0.0
    for update, gradient in enumerate((0.2, -0.4), 1):
        weight.grad = torch.tensor([gradient])
        optimiser.step()
        m, v = 0.5 * m + 0.5 * gradient, 0.9 * v + 0.1 * gradient**2
        expected -= 0.1 * (m / (1 - 0.5**update)) / math.sqrt(v / (1 - 0.9**update) + 0.01)
        assert weight.item() == pytest.approx(expected)


def test_the_supervised_twin_differs_in_the_game_alone() -> None:
    """The same D, labels, optimiser and length; only D is updated, by the labels alone."""
    twin, game = CATALOGUE["salimans_supervised"], CATALOGUE["salimans_small"]
    assert [p.name for p in twin.players] == ["D"]
    assert str(twin.players[0].loss) == "d_labelled"
    assert (twin.steps, twin.batch, str(twin.players[0].optimiser)) == (game.steps, game.batch, str(game.players[0].optimiser))


def test_lapgan_has_its_authors_layers() -> None:
    """train_cifar_coarse_to_fine_classcond.lua: G 7x7 64 - 7x7 64 - 5x5, D 5x5 64 - 5x5 s2 64, the class as a map."""
    nets = nets_of("lapgan")
    assert sizes(nets["G2"], nn.Conv2d) == [(64, 3, 7, 7), (64, 64, 7, 7), (1, 64, 5, 5)]
    assert sizes(nets["D2"], nn.Conv2d) == [(64, 2, 5, 5), (64, 64, 5, 5)]
    assert sizes(nets["D2"], nn.Linear) == [(28 * 28, 10), (1, 64 * 10 * 10)]


@pytest.mark.slow
def test_progan_has_its_authors_layers() -> None:
    """networks.py at 32x32, fmap_base 8192 and fmap_max 512: 512 channels everywhere, and one map of deviations at 4x4."""
    nets = nets_of("progan", (3, 32, 32))
    g, d = sizes(nets["G"], nn.Conv2d), sizes(nets["D"], nn.Conv2d)
    assert g == [(512, 512, 3, 3)] * 7 + [(3, 512, 1, 1)] * 4
    assert d == [(512, 3, 1, 1)] * 4 + [(512, 513, 3, 3)] + [(512, 512, 3, 3)] * 6
    assert sizes(nets["D"], nn.Linear) == [(512, 512 * 16), (1, 512)]
