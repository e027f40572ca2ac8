"""``python -m serving verify FILE.png``: makes a picture again from the text inside it, and says whether it is the same."""

from __future__ import annotations

import hashlib
import json
import os
import re
import stat
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from contract import MAX_SEED, DrawError
from serving.encoding.formats import FORMATS, PNG_KEYWORD, picture_pixels
from serving.encoding.png_reader import read_png
from serving.errors import ModelError, StartError, VerifyError, cut, shown
from serving.generation.samples import sample_of
from serving.latents.arithmetic import VectorSum
from serving.latents.interpolation import Interpolation
from serving.latents.sources import SeedSource
from serving.model.load import Model, model_from_bytes
from serving.model.runtime import resolve_provider
from serving.settings import Settings, from_environ, model_files

CANNOT_COMPARE = VerifyError.exit_code
EVERY = {"model", "digest", "runtime", "scale", "parameters"}
SHEET, MIXED, SUMMED = EVERY | {"seed", "n"}, EVERY | {"a", "b", "t"}, EVERY | {"a", "b", "c"}
"""Names in a text chunk: of seeds one after the other, of one place between two, and of a sum of three."""
PARAMETER_LIMIT = 1e30
"""No model allows a value beyond it."""


@dataclass(frozen=True, kw_only=True)
class Origin:
    """How a picture was made, as its text chunk says (``Sample.origin``); types and ranges are checked, the model is not."""

    model: str
    digest: str
    runtime: str
    sources: Sequence[SeedSource]
    """Seeds, one after the other, or one place between two, or one sum of three."""
    scale: int
    cols: int | None = None
    parameters: Mapping[str, float]

    def __str__(self) -> str:
        return f"{self._sources()} of {cut(self.model)} {self.digest[:12]}"

    def _sources(self) -> str:
        first, last = self.sources[0], self.sources[-1]
        if isinstance(first, Interpolation):
            return f"{first.t:g} of the way from seed {first.a} to {first.b}"
        if isinstance(first, VectorSum):
            return f"seed {first.a} - {first.b} + {first.c}"
        return f"seed {first}" if first == last else f"seeds {first}..{last}"


@dataclass(frozen=True)
class DiscriminatorOutput:
    """What the comparison showed, in one line."""

    is_match: bool
    line: str


def main(file: str, models: str | None, environ: Mapping[str, str]) -> int:
    """Print the verdict on a file; the exit code: 0 match, 1 pixel difference, 2 it cannot be compared.

    Args:
        file: path of a PNG that the service wrote.
        models: what counts instead of ``GAN_MODELS``.
        environ: where the service's settings are read.
    """
    name = ascii(file)[1:-1]
    try:
        settings = from_environ(environ if models is None else {**environ, "GAN_MODELS": models})
        verdict = verify(read_file(Path(file), limit=4 * settings.max_pixels + 2**20), settings)
    except (VerifyError, StartError) as error:
        print(f"{name}: {error}", file=sys.stderr)
        return CANNOT_COMPARE
    except Exception as error:  # the edge: whatever a stranger's file does to a library is told in one line, too
        print(f"{name}: cannot be compared: {type(error).__name__}: {cut(str(error))}", file=sys.stderr)
        return CANNOT_COMPARE
    print(f"{name}: {verdict.line}")
    return 0 if verdict.is_match else 1


def verify(data: bytes, settings: Settings) -> DiscriminatorOutput:
    """Compare a PNG with what its model makes here of its seed and parameters.

    Raises:
        VerifyError: it is no PNG of the service, or is damaged, or its model is not among the settings' models.
        StartError: a model or the device is wrong.
    """
    origin = read_origin(read_png(data).text(PNG_KEYWORD), settings)
    model = find_model(origin, settings)
    return compare(data, make_again(model, origin, settings), origin, model.runtime)


def read_file(path: Path, limit: int) -> bytes:
    """The bytes of a regular file, opened once; a pipe or a device is refused without waiting for it.

    Raises:
        VerifyError: it cannot be read, or has more than ``limit`` bytes.
    """
    try:
        with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise VerifyError("it must be a regular file")
            data = file.read(limit + 1)
    except OSError as error:
        raise VerifyError(f"cannot be read: {error.strerror}") from None
    if len(data) > limit:
        raise VerifyError(f"it must have at most {limit} bytes, as GAN_MAX_PIXELS allows, has more")
    return data


def read_origin(text: str, settings: Settings) -> Origin:
    """What the text chunk says, within the limits of the settings.

    Raises:
        VerifyError: naming the wrong value and the right one.
    """
    value = _parse(text)
    if not isinstance(value, dict) or value.keys() not in (SHEET, SHEET | {"cols"}, MIXED, SUMMED):
        found = ", ".join(map(cut, list(value)[:20])) if isinstance(value, dict) else type(value).__name__
        raise VerifyError(
            "the text chunk must be a JSON object of model, digest, runtime, seed and n or a, b and t or c, scale, "
            f"perhaps cols, parameters, has {found or 'nothing'}"
        )
    for name in ("model", "runtime"):
        if not isinstance(value[name], str):
            _refuse(name, "text", value[name])
    if not isinstance(value["digest"], str) or not re.fullmatch("[0-9a-f]{64}", value["digest"]):
        _refuse("digest", "64 hexadecimal digits", value["digest"])
    sources = _place(value) if "a" in value else _seeds(value, settings)
    _check_count("scale", value["scale"], 1, settings.max_scale, " by GAN_MAX_SCALE")
    if "cols" in value:
        _check_count("cols", value["cols"], 1, len(sources), " for this n")
    _check_parameters(value["parameters"])
    return Origin(
        model=value["model"],
        digest=value["digest"],
        runtime=value["runtime"],
        sources=sources,
        scale=value["scale"],
        cols=value.get("cols"),
        parameters=value["parameters"],
    )


def _seeds(value: Mapping[str, Any], settings: Settings) -> Sequence[SeedSource]:
    _check_count("seed", value["seed"], 0, MAX_SEED, "")
    _check_count("n", value["n"], 1, settings.max_images, " by GAN_MAX_IMAGES")
    _check_count("n", value["n"], 1, MAX_SEED + 1 - value["seed"], " for this seed, as seeds end there")
    return range(value["seed"], value["seed"] + value["n"])


def _place(value: Mapping[str, Any]) -> Sequence[SeedSource]:
    for name in ("a", "b", "c"):
        if name in value:
            _check_count(name, value[name], 0, MAX_SEED, "")
    if "c" in value:
        return [VectorSum(value["a"], value["b"], value["c"])]
    if type(value["t"]) not in (int, float) or not 0 <= value["t"] <= 1:
        _refuse("t", "0..1", value["t"])
    return [Interpolation(value["a"], value["b"], value["t"])]


def _parse(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise VerifyError(f"the text chunk must be JSON: {cut(str(error))}") from None


def _check_count(name: str, value: object, low: int, high: int, why: str) -> None:
    if type(value) is not int or not low <= value <= high:
        _refuse(name, f"{low}..{high}{why}", value)


def _check_parameters(value: object) -> None:
    if not isinstance(value, dict):
        _refuse("parameters", "an object of numbers", value)
    for name, number in value.items():
        if len(name) > 32:
            raise VerifyError(f"the text chunk's parameters must have names of at most 32 characters, got {shown(name)}")
        if type(number) not in (int, float) or not abs(number) < PARAMETER_LIMIT:
            _refuse(f"parameter {cut(name)}", "a finite number", number)


def _refuse(name: str, right: str, value: object) -> NoReturn:
    raise VerifyError(f"the text chunk's {name} must be {right}, got {cut(json.dumps(value))}")


def find_model(origin: Origin, settings: Settings) -> Model:
    """The model whose file has the origin's digest, loaded and checked as the service does; the others are only hashed.

    Raises:
        VerifyError: it is not there; the message says what is.
        StartError: it is refused, or the device is not there.
    """
    there: list[str] = []
    for path in model_files(settings):
        data = read_file(path, limit=2**31 - 1)
        digest = hashlib.sha256(data).hexdigest()
        if digest == origin.digest:
            try:
                return model_from_bytes(
                    data,
                    resolve_provider(settings.provider),
                    intra_op_threads=settings.intra_op_threads,
                    max_batch=settings.max_batch,
                )
            except ModelError as error:
                raise ModelError(f"{path}: {error}") from None
        there.append(f"{path} {digest[:12]}")
    raise VerifyError(f"other model: made by {cut(origin.model)} {origin.digest[:12]}, there are {', '.join(there)}")


def make_again(model: Model, origin: Origin, settings: Settings) -> bytes:
    """The PNG that the service would answer here.

    Raises:
        VerifyError: the model makes no picture of this.
    """
    output = model.card.output
    if "png" not in FORMATS[output.kind]:
        raise VerifyError(f"{cut(origin.model)} gives {output.kind}, of which there is no PNG")
    count = len(origin.sources)
    pixels = picture_pixels(output, count, origin.scale, origin.cols)
    if pixels > settings.max_pixels:
        raise VerifyError(
            f"the picture must have at most {settings.max_pixels} pixels by GAN_MAX_PIXELS, {origin} has {pixels}"
        )
    size = settings.max_batch
    batches = [origin.sources[i : i + size] for i in range(0, count, size)]
    try:
        rows = np.concatenate([model.sample(batch, [origin.parameters] * len(batch)) for batch in batches])
    except DrawError as error:
        raise VerifyError(f"the text chunk's parameters: {error}") from None
    if rows.dtype.kind == "f" and not np.isfinite(rows).all():
        raise VerifyError(f"{origin} is NaN or infinity here, of which there is no picture")
    sample = sample_of(model, rows, origin.sources[0], origin.parameters, scale=origin.scale, columns=origin.cols)
    return FORMATS[output.kind]["png"].encode(sample)


def compare(data: bytes, again: bytes, origin: Origin, runtime: str) -> DiscriminatorOutput:
    """What a file and the same picture made here have in common: the bytes, or else the pixels, or else how many differ.

    Raises:
        VerifyError: they have not the same size, or the file's pixels are damaged.
    """
    if data == again:
        return DiscriminatorOutput(True, f"match, bytes equal: {origin}")
    file, here = read_png(data), read_png(again)
    right, wrong = (f"{png.width}x{png.height} {'grey' if png.channels == 1 else 'RGB'}" for png in (here, file))
    if right != wrong:
        raise VerifyError(f"the picture of {origin} must be {right}, is {wrong}")
    off = np.abs(file.pixels().astype(np.int16) - here.pixels()).max(2)
    count, levels = int((off > 0).sum()), int(off.max())
    by = f"written by {cut(origin.runtime)}, compared on {runtime}"
    if not count:
        why = by if origin.runtime != runtime else "another zlib or another program wrote the file"
        return DiscriminatorOutput(True, f"match, pixels equal, bytes not: {origin}; {why}")
    plural = "" if levels == 1 else "s"
    return DiscriminatorOutput(
        False, f"pixel difference: {count} of {off.size} pixels by at most {levels} grey level{plural}: {origin}; {by}"
    )
