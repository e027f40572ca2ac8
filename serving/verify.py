"""``python -m serving verify FILE.png``: compute a picture again from the text inside it, and compare the two."""

from __future__ import annotations

import hashlib
import json
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from contract import MAX_SEED, DrawError
from serving.encoding.formats import FORMATS, PNG_KEYWORD, picture_pixels
from serving.encoding.png_reader import read_png
from serving.engine.samples import sample_of
from serving.errors import ModelError, NonFinite, OutOfMemory, StartError, VerifyError, cut, shown
from serving.latents.arithmetic import VectorSum
from serving.latents.interpolation import Interpolation
from serving.latents.sources import SeedSource
from serving.model.files import read_file
from serving.model.load import MAX_FILE_BYTES, Model, model_from_bytes
from serving.model.runtime import resolve_provider
from serving.settings import MODELS, Settings, from_environ, model_files

CANNOT_COMPARE = VerifyError.exit_code
COMMON = {"model", "digest", "runtime", "scale", "parameters"}
SEEDS, INTERPOLATED, SUMMED = COMMON | {"seed", "n"}, COMMON | {"a", "b", "t"}, COMMON | {"a", "b", "c"}
"""Names in the text chunk of consecutive seeds, of an interpolation of two seeds, and of a vector sum of three."""
PARAMETER_LIMIT = 1e30
"""No model allows a greater value."""
MAX_LISTED = 10
"""Model files that an error message lists, at most."""


@dataclass(frozen=True, kw_only=True)
class Origin:
    """How a picture was made, by its text chunk (``Sample.origin``). Types and ranges are checked, the model is not."""

    model: str
    digest: str
    runtime: str
    sources: Sequence[SeedSource]
    """Consecutive seeds, or one interpolation, or one vector sum."""
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
class Comparison:
    """The result of a comparison."""

    is_match: bool
    line: str
    """The result in one line."""


def main(file: str, models: str | None, environ: Mapping[str, str]) -> int:
    """Compare a file and print the result.

    Args:
        file: path of a PNG that the service wrote.
        models: model files or folders, in place of ``GAN_MODELS``.
        environ: environment variables, the service's settings among them.

    Returns:
        The exit code: 0 match, 1 pixel difference, 2 the file cannot be compared.
    """
    name = ascii(file)[1:-1]
    models_by = MODELS if models is None else "--models"
    given = environ if models is None else {**environ, MODELS: models}
    try:
        settings = from_environ(given, models_by=models_by)
        data = read_file(Path(file), 4 * settings.max_pixels + 2**20, by=" by GAN_MAX_PIXELS")
        files = model_files(settings, models_by=models_by) if MODELS in given else checkout_models(Path())
        comparison = verify(data, files, settings)
    except (VerifyError, StartError) as error:
        print(f"{name}: {error}", file=sys.stderr)
        return CANNOT_COMPARE
    except Exception as error:  # a damaged file may make a library raise anything; the user gets one line
        print(f"{name}: cannot be compared: {type(error).__name__}: {cut(str(error))}", file=sys.stderr)
        return CANNOT_COMPARE
    print(f"{name}: {comparison.line}")
    return 0 if comparison.is_match else 1


def checkout_models(root: Path) -> list[Path]:
    """The model files of a checkout: where training and serving put them, ``runs/*/model.onnx`` and ``models/*.onnx``.

    Raises:
        VerifyError: there are none.
    """
    files = [*sorted(root.glob("models/*.onnx")), *sorted(root.glob("runs/*/model.onnx"))]
    if not files:
        raise VerifyError("no model to compare with in models/ and runs/*/: give --models FILE or set GAN_MODELS")
    return files


def verify(data: bytes, models: Sequence[Path], settings: Settings) -> Comparison:
    """Compare a PNG with the output of its model here for the same seed and parameters.

    Raises:
        VerifyError: it is no PNG of the service, or is damaged, or its model is not among ``models``.
        StartError: a model or the device is wrong.
    """
    origin = read_origin(read_png(data).text(PNG_KEYWORD), settings)
    model = find_model(origin, models, settings)
    return compare(data, compute_png(model, origin, settings), origin, model.runtime)


def read_origin(text: str, settings: Settings) -> Origin:
    """Parse a text chunk and check it against the limits of the settings.

    Raises:
        VerifyError: a value is wrong; the message has the value and the right range.
    """
    value = _parse(text)
    if isinstance(value, dict) and "picture" in value:
        raise VerifyError(
            "the file was made from a picture, which it does not hold: send that picture to POST /transform again"
        )
    if not isinstance(value, dict) or value.keys() not in (SEEDS, SEEDS | {"cols"}, INTERPOLATED, SUMMED):
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
    sources = _interpolation_or_sum(value) if "a" in value else _seeds(value, settings)
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


def _interpolation_or_sum(value: Mapping[str, Any]) -> Sequence[SeedSource]:
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


def find_model(origin: Origin, models: Sequence[Path], settings: Settings) -> Model:
    """The model file with the origin's digest, loaded and checked as in the service. The other files are only hashed.

    Raises:
        VerifyError: there is none; the message lists the files.
        StartError: it is refused, or the device is missing.
    """
    found: list[str] = []
    for path in models:
        try:
            data = read_file(path, MAX_FILE_BYTES)
        except ModelError as error:
            found.append(f"{path} ({error})")
            continue
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
        found.append(f"{path} {digest[:12]}")
    more = f" and {len(found) - MAX_LISTED} more" if len(found) > MAX_LISTED else ""
    listed = ", ".join(found[:MAX_LISTED])
    raise VerifyError(f"model not found: made by {cut(origin.model)} {origin.digest[:12]}, found are {listed}{more}")


def compute_png(model: Model, origin: Origin, settings: Settings) -> bytes:
    """The PNG that the service would send here.

    Raises:
        VerifyError: the model has no PNG of this origin.
    """
    output = model.card.output
    if "png" not in FORMATS[output.kind]:
        raise VerifyError(f"{cut(origin.model)} generates {output.kind}, which have no PNG format")
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
    except (NonFinite, OutOfMemory) as problem:
        raise VerifyError(f"{origin}: {problem}") from None
    if rows.dtype.kind == "f" and not np.isfinite(rows).all():
        raise VerifyError(f"{origin} is NaN or infinity here and has no picture")
    sample = sample_of(model, rows, origin.sources[0], origin.parameters, scale=origin.scale, columns=origin.cols)
    return FORMATS[output.kind]["png"].encode(sample)


def compare(data: bytes, again: bytes, origin: Origin, runtime: str) -> Comparison:
    """Compare a file with the picture computed here: by bytes, then by pixels.

    Raises:
        VerifyError: their sizes differ, or the file's pixels are damaged.
    """
    if data == again:
        return Comparison(True, f"match, bytes equal: {origin}")
    file, here = read_png(data), read_png(again)
    right, wrong = (f"{png.width}x{png.height} {'grey' if png.channels == 1 else 'RGB'}" for png in (here, file))
    if right != wrong:
        raise VerifyError(f"the picture of {origin} must be {right}, is {wrong}")
    off = np.abs(file.pixels().astype(np.int16) - here.pixels()).max(2)
    count, levels = int((off > 0).sum()), int(off.max())
    by = f"written by {cut(origin.runtime)}, compared on {runtime}"
    if not count:
        why = by if origin.runtime != runtime else "another zlib or another program wrote the file"
        return Comparison(True, f"match, pixels equal, bytes not: {origin}; {why}")
    plural = "" if levels == 1 else "s"
    return Comparison(
        False, f"pixel difference: {count} of {off.size} pixels by at most {levels} grey level{plural}: {origin}; {by}"
    )
