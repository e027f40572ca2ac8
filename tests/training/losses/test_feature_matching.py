"""Salimans' losses against numbers worked out by hand, the labelled subset, and weights that are fitted to data."""

from __future__ import annotations

import math
from pathlib import Path
from typing import cast

import pytest
import torch
from torch import Tensor, nn

from tests.training.conftest import tiny_config, tiny_context
from training.errors import TrainingError
from training.game.loop import Game
from training.game.step import Batch, DiscriminatorOutput, StepContext
from training.losses.feature_matching import d_labelled, d_semi_supervised, g_feature_matching
from training.nets.labelled import Labelled, choose
from training.nets.layers import normal
from training.nets.weight_norm import BatchNormShift, GaussianNoise, WeightNormLinear, classifier
from training.recipes.salimans import examine
from training.run.config import RunConfig
from training.run.job import set_up


class Logits(nn.Module):
    """A discriminator of two classes whose logits are the sample [N,2], and its features the sample doubled."""

    def forward(self, x: Tensor) -> DiscriminatorOutput:
        return DiscriminatorOutput(x, 2 * x)


REAL, FAKE = [[0.0, 0.0], [1.0, 3.0]], [[-2.0, -2.0], [0.0, 1.0]]


def sample_latents(*, moving: str = "D", step: int = 0) -> StepContext:
    labelled = Labelled((2,), 2, 1)
    labelled.x.copy_(torch.tensor([[0.0, math.log(3)], [0.0, math.log(7)]]))
    nets = {"D": Logits(), "G": nn.Embedding(2, 2, _weight=torch.tensor(FAKE)), "labelled": labelled}
    return StepContext(nets, Batch(torch.tensor(REAL)), {"input": torch.tensor([0, 1])}, step=step, moving=frozenset(moving))


def softplus(x: float) -> float:
    return math.log1p(math.exp(x))


def evidence(logits: list[float]) -> float:
    return math.log(sum(map(math.exp, logits)))


def test_the_labelled_loss_is_the_cross_entropy_of_the_labels() -> None:
    """Of class 0 the probability is 1/4, of class 1 7/8; one of the two is named rightly."""
    ctx = sample_latents()
    assert d_labelled(ctx).item() == pytest.approx(-(math.log(1 / 4) + math.log(7 / 8)) / 2, rel=1e-6)
    assert ctx.logged["accuracy/labelled"].item() == 0.5


def test_the_unlabelled_loss_counts_the_evidence_of_any_class() -> None:
    """-1/2 log Z + 1/2 sp(log Z) of reals and 1/2 sp(log Z) of fakes, in the mean, as the authors' code writes it."""
    real, fake = [evidence(row) for row in REAL], [evidence(row) for row in FAKE]
    expected = sum(-r / 2 + softplus(r) / 2 for r in real) / 2 + sum(softplus(f) / 2 for f in fake) / 2
    ctx = sample_latents()
    assert dict(d_semi_supervised.parts(ctx))["d_unlabelled"].item() == pytest.approx(expected, rel=1e-6)
    assert ctx.logged["accuracy/real"].item() == 1
    assert ctx.logged["accuracy/fake"].item() == 0.5


def test_one_pass_of_labelled_real_and_fake_samples_changes_no_term() -> None:
    """The labelled term is that of the labelled samples alone; D is asked once."""
    ctx, asked = sample_latents(), []
    ctx.nets["D"].register_forward_hook(lambda net, inputs, output: asked.append(len(inputs[0])))
    parts = dict(d_semi_supervised.parts(ctx))
    assert parts["d_labelled"].item() == pytest.approx(d_labelled(sample_latents()).item(), rel=1e-6)
    assert list(parts) == ["d_labelled", "d_unlabelled"]
    assert asked == [6]


def test_the_generator_matches_the_mean_features() -> None:
    """Mean features of reals (1, 3), of fakes (-2, -1): (9 + 16) / 2, by two features."""
    assert g_feature_matching(sample_latents(moving="G")).item() == pytest.approx((9 + 16) / 2)


@pytest.mark.parametrize("size", [2, 3, 4, 9])
def test_labelled_batches_deal_each_sample_once_an_epoch(size: int) -> None:
    """Batches one behind the other are whole permutations one behind the other, for any batch size."""
    labelled = Labelled((1,), 4, 1)
    labelled.x.copy_(torch.arange(4.0)[:, None])
    dealt = torch.cat([labelled.batch(number, size)[0] for number in range(4)])[:, 0]
    assert len(dealt) == 4 * size
    assert [sorted(epoch.tolist()) for epoch in dealt.split(4)] == [[0, 1, 2, 3]] * size
    assert torch.equal(labelled.batch(2, size)[0], labelled.batch(2, size)[0])


def test_the_labelled_subset_is_even_and_a_function_of_the_seed() -> None:
    """As many of each class, the same again, others by another seed; fewer are a part of more."""
    labels = torch.arange(200) % 10
    chosen = choose(labels, 5, seed=3)
    assert torch.bincount(labels[chosen]).tolist() == [5] * 10
    assert len(set(chosen.tolist())) == 50
    assert torch.equal(chosen, choose(labels, 5, seed=3))
    assert not torch.equal(chosen, choose(labels, 5, seed=4))
    assert set(choose(labels, 2, seed=3).tolist()) < set(chosen.tolist())


def test_too_few_samples_of_a_class_are_an_error_that_says_so() -> None:
    """Class 1 has one, two are wanted."""
    with pytest.raises(ValueError, match="class 1 has 1 samples, and 2 of each"):
        choose(torch.tensor([0, 0, 1, 0]), 2, seed=0)


def test_a_fitted_layer_gives_outputs_of_mean_zero_and_deviation_one() -> None:
    """On the samples that it was fitted to, at any scale; its weights' direction stays."""
    x = 5 + 3 * torch.randn(400, 7, generator=torch.Generator().manual_seed(0))
    layer = WeightNormLinear(7, 4, weight=normal(0.1), is_scale_trained=False)
    before = layer.direction.clone()
    layer.fit(x)
    overrides = layer(x)
    assert torch.allclose(overrides.mean(0), torch.zeros(4), atol=1e-4)
    assert torch.allclose(overrides.std(0, correction=0), torch.ones(4), atol=1e-4)
    assert torch.equal(layer.direction, before)


def test_weight_norm_sets_the_length_of_each_row() -> None:
    """Rows of W have the length that ``scale`` says, and only a trained scale is a parameter."""
    layer = WeightNormLinear(3, 2, weight=normal(0.1), is_scale_trained=True)
    with torch.no_grad():
        layer.scale.copy_(torch.tensor([2.0, 0.5]))
        layer.direction.copy_(torch.tensor([[3.0, 0.0, 4.0], [0.0, 1.0, 0.0]]))
    assert torch.allclose(layer.weight, torch.tensor([[1.2, 0.0, 1.6], [0.0, 0.5, 0.0]]), atol=1e-6)
    assert "scale" in dict(layer.named_parameters())
    fixed = WeightNormLinear(3, 2, weight=normal(0.1), is_scale_trained=False)
    assert [name for name, _ in fixed.named_parameters()] == ["direction", "bias"]


def test_scaled_outputs_are_those_of_a_scaled_weight() -> None:
    """In training the outputs are scaled, in evaluation the weight: values and gradients agree."""
    layer = WeightNormLinear(6, 4, weight=normal(0.1), is_scale_trained=True).double()
    x = torch.rand(9, 6, dtype=torch.float64)
    weights = list(layer.parameters())
    scaled, plain = (layer.train(mode)(x) for mode in (True, False))
    slopes = [torch.autograd.grad(answer.square().sum(), weights) for answer in (scaled, plain)]
    assert torch.allclose(scaled, plain, rtol=1e-12)
    assert all(torch.allclose(a, b, rtol=1e-9) for a, b in zip(*slopes, strict=True))


def test_noise_is_silent_in_evaluation() -> None:
    """In training it adds its deviation, in evaluation nothing."""
    noise, x = GaussianNoise(0.5), torch.zeros(20_000)
    torch.manual_seed(0)
    assert noise(x).std().item() == pytest.approx(0.5, rel=0.05)
    assert torch.equal(noise.eval()(x), x)


def test_a_shift_without_a_gain() -> None:
    """Batch normalisation whose only parameter is its bias."""
    norm = BatchNormShift(3)
    assert [name for name, _ in norm.named_parameters()] == ["bias"]
    assert torch.allclose(norm(torch.randn(64, 3)).mean(0), torch.zeros(3), atol=1e-5)


def test_the_features_are_those_before_the_last_noise() -> None:
    """In evaluation the logits follow from the features by the last layer."""
    d = classifier((4, 4), [8, 6], 3).eval()
    output = d(torch.rand(5, 4, 4))
    assert output.features.shape == (5, 6)
    assert torch.allclose(d.head(output.features), output.logit)


def game_of(folder: Path, run: Path, *, seed: int) -> Game:
    config = RunConfig(**{**vars(tiny_config("salimans", folder, steps=1)), "seed": seed})
    return set_up(config, tiny_context(run))[0]


@pytest.mark.slow
def test_a_game_begins_with_ten_labelled_samples_a_class_and_fitted_weights(picture_folder: Path, tmp_path: Path) -> None:
    """The labelled hundred are of the data, by the run's seed; D's average begins where its fitted weights do."""
    game, again, other = (game_of(picture_folder, tmp_path, seed=seed) for seed in (1, 1, 2))
    labelled, same, others = (cast(Labelled, g.nets["labelled"]) for g in (game, again, other))
    assert torch.bincount(labelled.y).tolist() == [10] * 10
    items = {item.numpy().tobytes() for item in game.batches.data.items}
    assert all((x * 255).round().to(torch.uint8).numpy().tobytes() in items for x in labelled.x)
    assert torch.equal(labelled.x, same.x)
    assert not torch.equal(labelled.x, others.x)
    fitted, average = game.nets["D"].state_dict(), game.averages["D"].state_dict()
    assert torch.equal(average["body.1.scale"], fitted["body.1.scale"])
    assert not torch.equal(fitted["body.1.scale"], torch.ones(1000))


def test_data_without_ten_classes_are_refused(picture_folder: Path, tmp_path: Path) -> None:
    """Pictures without labels cannot be learned from."""
    with pytest.raises(TrainingError, match="learns 10 classes, and the data has other ones or none"):
        set_up(RunConfig(recipe="salimans", data=f"folder:{picture_folder}", size=16, batch=8), tiny_context(tmp_path))


def test_errors_are_counted_on_the_test_samples() -> None:
    """Two of three are named rightly."""
    test = Batch(torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 0.0]]), torch.tensor([0, 1, 1]))
    assert examine({"D": Logits()}, test) == pytest.approx({"errors": 1, "error": 1 / 3})
