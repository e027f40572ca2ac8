"""InfoGAN's information against numbers worked out by hand, and what reading its codes is worth."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from contract import Categorical, Latent, Normal, Uniform, card_from_metadata, parameters
from serving.app import create_app
from serving.settings import Settings
from tests.training.conftest import tiny_config, tiny_context
from training.export.runtime import open_session
from training.game.step import Batch, DiscriminatorOutput, StepContext
from training.losses.information import information_of, mutual_information
from training.metrics.codes import match_codes
from training.recipes.infogan import CODES, examine
from training.run.job import MODEL, set_up, train

LN_2PI = math.log(2 * math.pi)
BY_HAND: list[tuple[Latent, list[list[float]], object, float]] = [
    (Categorical(2), [[0.0, math.log(3)]], [1], math.log(3 / 4) + math.log(2)),
    (Categorical(2), [[0.0, math.log(3)], [0.0, 0.0]], [0, 1], (math.log(1 / 4) + math.log(1 / 2)) / 2 + math.log(2)),
    (Uniform(1), [[0.5]], [[0.0]], -(0.25 + LN_2PI) / 2 + math.log(2)),
    (Uniform(2, 0.0, 4.0), [[1.0, 2.0]], [[1.0, 4.0]], -(4 + 2 * LN_2PI) / 2 + 2 * math.log(4)),
    (Normal(1), [[1.0]], [[3.0]], -(4 + LN_2PI) / 2 + (1 + LN_2PI) / 2),
]


@pytest.mark.parametrize(("latent", "answer", "code", "expected"), BY_HAND)
def test_information_is_log_q_of_the_code_and_its_entropy(
    latent: Latent, answer: list[list[float]], code: object, expected: float
) -> None:
    """One or two samples, Q's answers known."""
    assert information_of(latent, torch.tensor(answer), torch.tensor(code)).item() == pytest.approx(expected, rel=1e-6)


class Reader(nn.Module):
    """A discriminator that reads the code off a sample [N,2]: ``y`` from its first number, ``c`` as its second."""

    def forward(self, x: Tensor) -> DiscriminatorOutput:
        logits = torch.stack([-20 * x[:, 0], 20 * x[:, 0]], 1)
        return DiscriminatorOutput(x.sum(1), x, {"y": logits, "c": x[:, 1:]})


class Writer(nn.Module):
    """A generator that writes the code into a sample, its continuous part times a weight."""

    def __init__(self, weight: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor(weight))

    def forward(self, y: Tensor, c: Tensor) -> Tensor:
        return torch.stack([2.0 * y - 1, self.weight * c[:, 0]], 1)


def coded(weight: float, *, moving: str) -> StepContext:
    latents = {"y": torch.tensor([0, 1, 1]), "c": torch.tensor([[1.0], [-1.0], [0.5]])}
    nets = {"G": Writer(weight), "D": Reader()}
    return StepContext(nets, Batch(torch.ones(3, 2)), latents, step=0, moving=frozenset(moving))


TWO: dict[str, Latent] = {"y": Categorical(2), "c": Uniform(1)}


def test_a_code_that_is_written_plainly_is_read_whole() -> None:
    """ln 2 of the category, and of the number what a unit Gaussian's error leaves; both are noted apart."""
    ctx = coded(1.0, moving="D")
    assert mutual_information(TWO)(ctx).item() == pytest.approx(math.log(2) + math.log(2) - LN_2PI / 2, rel=1e-6)
    assert ctx.logged["information/y"].item() == pytest.approx(math.log(2))
    assert ctx.logged["information/c"].item() == pytest.approx(math.log(2) - LN_2PI / 2)


def test_the_generator_is_taught_to_write_its_codes() -> None:
    """The derivative by its weight w, of -mean (c - w c)^2 / 2, is mean c^2 (1 - w)."""
    ctx = coded(0.25, moving="G")
    value = mutual_information(TWO)(ctx)
    (gradient,) = torch.autograd.grad(value, list(ctx.nets["G"].parameters()))
    assert gradient.item() == pytest.approx((1 + 1 + 0.25) / 3 * 0.75)


def test_codes_are_matched_one_to_one_as_well_as_can_be() -> None:
    """Two codes that both mostly show class 0: the one that shows it more often gets it."""
    codes, labels = torch.tensor([0, 0, 0, 1, 1, 2]), torch.tensor([0, 0, 0, 0, 1, 2])
    shown = match_codes(codes, labels)
    assert (shown[0], shown[1], shown[2]) == (0, 1, 2)


def test_the_error_of_a_code_is_what_its_best_matching_gets_wrong() -> None:
    """Codes 9 - label but for one sample of five: an error of .2, and each code's class is named."""

    class Fixed(nn.Module):
        def forward(self, x: Tensor) -> DiscriminatorOutput:
            return DiscriminatorOutput(x, x, {"y": nn.functional.one_hot(x.long(), 10).float()})

    labels = torch.tensor([0, 1, 2, 3, 4])
    values = examine({"D": Fixed()}, Batch(torch.tensor([9.0, 8.0, 7.0, 6.0, 9.0]), labels))
    assert values["code-error"] == pytest.approx(0.2)
    assert [values[f"y={code}"] for code in (9, 8, 7, 6)] == [0, 1, 2, 3]


@pytest.mark.slow
def test_a_trained_infogan_takes_its_codes_as_parameters(picture_folder: Path, tmp_path: Path) -> None:
    """The card declares y, c0 and c1 and no classes, pictures show each code's way, and y=3 is served otherwise than y=4."""
    config, context = tiny_config("infogan_small", picture_folder, steps=2), tiny_context(tmp_path / "run")
    assert train(config, context)
    path = context.run / MODEL
    card = card_from_metadata(open_session(path).get_modelmeta().custom_metadata_map)
    assert list(parameters(card.latents)) == ["y", "c0", "c1"]
    assert card.classes == ()
    assert sorted(p.name for p in context.run.glob("traversal-*")) == ["traversal-c0.png", "traversal-c1.png"]

    client = create_app(Settings(models=(str(path),), workers=1)).flask.test_client()
    asked = [client.get(f"/generate?model={card.name}&seed=1&{fixed}&format=npy") for fixed in ("y=3", "y=4", "y=3&c0=1")]
    assert [answer.status_code for answer in asked] == [200, 200, 200]
    assert len({answer.data for answer in asked}) == 3


def test_q_moves_with_the_discriminator(picture_folder: Path, tmp_path: Path) -> None:
    """Q's layers belong to D, and both losses hold the information."""
    game, _ = set_up(tiny_config("infogan_small", picture_folder, steps=1), tiny_context(tmp_path))
    owned = {id(p) for p in game.parameters["D"]}
    assert all(id(p) in owned for p in game.nets["D"].reader.parameters())
    assert [[t.name for t in p.loss.terms][1] for p in game.recipe.players] == ["mutual_information"] * 2
    assert set(CODES) == {"y", "c"}
