"""A PyTorch generator from elsewhere as a sampler, and through the export of our own recipes."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import cast

import onnx
import torch
from torch import Tensor, nn

from contract import Card
from training.adopt.inputs import PROBES, Input, draw_probes
from training.adopt.memory import lacks_memory
from training.adopt.pictures import PictureFormat, scale_of
from training.adopt.probe import ROWS, probe
from training.adopt.served import check_served
from training.errors import AdoptError, ExportError
from training.export.explain import explain
from training.export.fold_batchnorm import fold_batch_norm
from training.export.samplers import ImageSampler
from training.export.to_onnx import FLOAT_TOLERANCE, export, trace

Kind = inspect.Parameter


class Adopted(nn.Module):
    """A module that takes latents by the names of the card, in the card's shapes."""

    def __init__(self, net: nn.Module, inputs: Sequence[Input]) -> None:
        """``net`` is the generator; ``inputs`` are its latents.

        Raises:
            AdoptError: ``forward`` has no parameter for a latent, or needs another one.
        """
        super().__init__()
        self.net = net
        self.inputs = tuple(inputs)
        self.ordered, self.keywords = bind(net, self.inputs)
        for one in self.inputs:
            if one.is_one_hot:
                self.register_buffer(f"one_hot_{one.name}", torch.eye(one.shape[0]), persistent=False)

    def forward(self, **latents: Tensor) -> Tensor:
        given = {one.name: self._taken(one, latents[one.name]) for one in self.inputs}
        output = self.net(*(given[name] for name in self.ordered), **{k: given[name] for k, name in self.keywords.items()})
        if isinstance(output, tuple | list) and output:
            output = output[0]
        if not isinstance(output, Tensor):
            raise AdoptError(
                f"the generator must return a tensor, or a tuple that starts with one, got {type(output).__name__}"
            )
        return output

    def described(self) -> str:
        """The latents in words, with the parameter that each goes to where it has another name."""
        taken_as = {latent: parameter for parameter, latent in self.keywords.items() if parameter != latent}
        return ", ".join(f"{one} as {taken_as[one.name]}" if one.name in taken_as else str(one) for one in self.inputs)

    def _taken(self, one: Input, values: Tensor) -> Tensor:
        if one.is_one_hot:
            values = cast(Tensor, getattr(self, f"one_hot_{one.name}"))[values]
        else:
            values = values.clone()  # forward may change what it is given
        return values.unflatten(1, one.shape) if len(one.shape) > 1 else values


class AdoptedSampler(ImageSampler):
    """Latents to uint8 [n,h,w,c], for the layouts and ranges of generators from elsewhere."""

    def __init__(self, inner: Adopted, form: PictureFormat) -> None:
        super().__init__(inner, tuple(one.name for one in inner.inputs), "unit")
        self.form = form

    def levels(self, *inputs: Tensor) -> Tensor:
        """float32 [n,h,w,c] in 0..255, before rounding."""
        x = cast(Tensor, self.inner(**dict(zip(self.names, inputs, strict=True)))).float()
        scale, shift = scale_of(self.form.values)
        x = x * scale + shift
        if self.form.is_clamped:
            x = x.clamp(0, 255)
        return x.permute(0, 2, 3, 1) if self.form.layout == "nchw" else x


def bind(net: nn.Module, inputs: Sequence[Input]) -> tuple[list[str], dict[str, str]]:
    """The latents that ``forward`` takes in order, and by parameter those that it takes by name.

    A latent goes to the parameter that it names, else to the one of its own name, else to the next one without a default.

    Raises:
        AdoptError: they do not fit; the message names the parameter or the latent.
    """
    declared = inspect.signature(net.forward).parameters
    named = {name: p for name, p in declared.items() if p.kind not in (Kind.VAR_POSITIONAL, Kind.VAR_KEYWORD)}
    given: dict[str, str] = {}
    rest: list[str] = []
    for one in inputs:
        target = one.target or one.name
        if target in named:
            given[target] = one.name
        elif one.target:
            raise AdoptError(f"forward has no parameter {one.target!r} for the latent {one.name}; it has {', '.join(declared)}")
        else:
            rest.append(one.name)
    if any(p.kind is Kind.VAR_POSITIONAL for p in declared.values()) and not given:
        return rest, {}
    free = [name for name, p in named.items() if p.default is Kind.empty and name not in given]
    if len(rest) > len(free):
        raise AdoptError(f"forward has no parameter for the latent {rest[len(free)]}; it has {', '.join(declared)}")
    if len(rest) < len(free):
        raise AdoptError(f"forward needs {free[len(rest)]!r} as well: declare it by --latent {free[len(rest)]}=KIND:SIZE")
    given |= dict(zip(free, rest, strict=True))
    # A parameter before a slash has no keyword; those behind one that keeps its default cannot be given.
    by_place = [name for name, p in named.items() if p.kind is Kind.POSITIONAL_ONLY]
    left_out = next((place for place, name in enumerate(by_place) if name not in given), len(by_place))
    if behind := [name for name in by_place[left_out:] if name in given]:
        raise AdoptError(f"forward takes {behind[0]!r} by its place only: declare {by_place[left_out]!r} before it as well")
    return [given.pop(name) for name in by_place[:left_out]], given


def sampler_of_net(
    net: nn.Module, inputs: Sequence[Input], form: PictureFormat, card: Card
) -> tuple[AdoptedSampler, Card, str | None]:
    """The generator as a sampler, its card with the output, and a doubt about its range.

    Raises:
        AdoptError: the generator cannot keep the promise that a seed fixes a picture; the message is one sentence.
    """
    inner = Adopted(net, inputs).eval()
    seen = form.seen()
    batches = (_probes(inputs, start) for start in range(0, PROBES, ROWS))
    probe(inner, batches, inner.described(), seen.add)
    image = form.image(seen)
    seen.check_varied()
    return AdoptedSampler(inner, form).eval(), replace(card, output=image), form.doubt(seen)


def _probes(inputs: Sequence[Input], start: int) -> dict[str, Tensor]:
    """Latents of one batch."""
    return {name: torch.from_numpy(values) for name, values in draw_probes(inputs, slice(start, start + ROWS)).items()}


def export_net(sampler: AdoptedSampler, card: Card, path: Path) -> dict[str, float]:
    """Write the sampler as a model file, as ``export`` does for a recipe's.

    Raises:
        ExportError: onnxruntime computes something else than torch.
        AdoptError: ONNX has no operator for one of the generator's, the generator fixes the number of rows, or the service
            would refuse the file.
        OSError: the file cannot be written.
    """
    latents = list(_probes(cast(Adopted, sampler.inner).inputs, 0).values())
    with torch.no_grad():
        levels = sampler.levels(*latents)
        is_folded = _can_be_folded(sampler, latents, levels)
    # A generator that rounds by itself may differ by a level where torch and onnxruntime differ in the last bit.
    is_rounded = sampler.form.values == "uint8" and torch.equal(levels, levels.round())
    tolerance = 1.01 / 255 if is_rounded else FLOAT_TOLERANCE

    def traced(module: nn.Module, examples: Mapping[str, Tensor], output: str) -> onnx.ModelProto:
        model = trace(module, examples, output)
        check_served(model, card.latents)
        return model

    try:
        return export(sampler, card, path, fold=is_folded, tolerance=tolerance, tracer=traced)
    except (ExportError, AdoptError, OSError):  # a full or read-only disk is not the generator's fault
        raise
    except Exception as error:  # the exporter raises errors of many kinds
        if lacks_memory(error):
            raise
        raise AdoptError(explain(error)) from error


def _can_be_folded(sampler: AdoptedSampler, latents: Sequence[Tensor], levels: Tensor) -> bool:
    """Whether a copy whose batch normalisation is folded gives the same levels; not where the generator cannot be copied."""
    try:
        folded = cast(AdoptedSampler, fold_batch_norm(sampler)).levels(*latents)
    except Exception:  # a copy runs the generator's own code, and so do its hooks, which may want the weights as they were
        return False
    return torch.allclose(folded, levels, atol=0.02)
