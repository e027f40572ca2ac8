"""A generator whose latents can be searched: that of a run's newest checkpoint, or of a model file."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import onnx
import torch
from torch import Tensor, nn

from contract import Card, Categorical, Image, card_from_metadata, picture_inputs
from training.data.pixels import to_unit
from training.errors import TrainingError, first_line
from training.export.from_onnx import DifferentiableGraph
from training.export.sample_grid import sampler_of
from training.files import find_config, model_file, read_model
from training.game.loop import Game
from training.game.step import DiscriminatorOutput
from training.metrics.classifier import weights_digest
from training.metrics.completion import Doubt, doubt_of_logit
from training.metrics.reconstruction import Make
from training.run.context import JobContext
from training.run.job import card_of, open_run


@dataclass(frozen=True)
class SearchableGenerator:
    """A generator of images whose latents can be searched."""

    card: Card
    make: Make
    doubt: Doubt | None
    """None where there is no discriminator, or one that gives no probability."""
    digest: str
    """SHA-256 of the model file, or of all weights of the run's checkpoint, averages included."""

    @property
    def output(self) -> Image:
        """The size of its images."""
        assert isinstance(self.card.output, Image)
        return self.card.output


def open_generator(model: Path, context: JobContext) -> SearchableGenerator:
    """The generator of a run's newest checkpoint, or of a model file.

    Raises:
        TrainingError: there is none, or it makes no images from latents alone, or its latents cannot move.
    """
    is_run = model.is_dir() and find_config(model) is not None
    if is_run:
        game, data = open_run(context)
        card = card_of(game, data)
    else:
        content, proto = _load(model_file(model))
        card = card_from_metadata({entry.key: entry.value for entry in proto.metadata_props})
    if not isinstance(card.output, Image) or (card.picture is not None and not card.picture.is_optional):
        raise TrainingError(f"{card.name} makes no images from latents alone, so it completes no picture")
    if all(isinstance(latent, Categorical) for latent in card.latents.values()):
        raise TrainingError(f"{card.name} has no continuous latent to search")
    if is_run:
        make = maker_of(sampler_of(game, data), card, context.device)
        return SearchableGenerator(card, make, _doubt_of(game), _digest_of(game))
    make = _normalised(DifferentiableGraph(proto, context.device), card, context.device)
    return SearchableGenerator(card, make, None, hashlib.sha256(content).hexdigest())


def _digest_of(game: Game) -> str:
    """SHA-256 of the weights of all nets and of their averages."""
    groups = {"net": game.nets, "average": game.averages}
    nets = {f"{kind} {name}": net for kind, group in groups.items() for name, net in group.items()}
    return weights_digest({f"{name} {key}": value for name, net in nets.items() for key, value in net.state_dict().items()})


def _load(path: Path) -> tuple[bytes, onnx.ModelProto]:
    """The bytes of a model file, and the model."""
    content = read_model(path)
    try:
        return content, onnx.load_from_string(content)
    except Exception as error:  # protobuf's errors are of many kinds
        raise TrainingError(f"{path} is no ONNX model: {first_line(error)}") from None


def maker_of(sampler: nn.Module, card: Card, device: torch.device) -> Make:
    """A sampler in evaluation mode with frozen weights, from latents to images [n,C,H,W] in 0..1."""
    sampler.eval().requires_grad_(False)
    levels: Callable[..., Tensor] = sampler.levels  # type: ignore[assignment]
    return _normalised(lambda inputs: levels(*inputs.values()), card, device)


def _normalised(levels: Callable[[Mapping[str, Tensor]], Tensor], card: Card, device: torch.device) -> Make:
    """From grey levels [n,h,w,c] of all inputs to images [n,C,H,W] in 0..1 of the latents; an optional picture is left out."""

    def make(z: Mapping[str, Tensor]) -> Tensor:
        inputs = {name: z[name] for name in card.latents}
        if card.picture is not None:
            none = picture_inputs(card.picture, [None] * len(next(iter(inputs.values()))))
            inputs |= {name: torch.from_numpy(values).to(device) for name, values in none.items()}
        return levels(inputs).permute(0, 3, 1, 2) / 255

    return make


def _doubt_of(game: Game) -> Doubt | None:
    """-log D by the net ``D``; None where there is none, or it gives no logit of real or fake for each image."""
    net = game.nets.get("D")
    if net is None:
        return None
    net.eval().requires_grad_(False)

    def judge(images: Tensor, z: Mapping[str, Tensor]) -> DiscriminatorOutput:
        x = images if game.recipe.pixels == "unit" else 2 * images - 1
        output: DiscriminatorOutput = net(x, **{name: z[name] for name in game.recipe.conditions})
        return output

    with torch.no_grad():
        rows = game.batches.rows(torch.arange(2, device=game.device))
        probe = judge(
            to_unit(rows.x, game.recipe.pixels),
            {name: torch.zeros(2, dtype=torch.int64, device=game.device) for name in game.recipe.conditions},
        )
    if probe.logit.shape != (2,) or probe.threshold is None:
        return None
    threshold = probe.threshold
    return lambda images, z: doubt_of_logit(judge(images, z).logit, threshold)
