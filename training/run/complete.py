"""``python -m training complete``: fill holes in pictures by searching the latents of a generator."""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Annotated, Any

import numpy as np
import torch
import tyro
from numpy.typing import NDArray
from PIL import Image as Pillow
from rich.console import Console
from torch import Tensor

from contract import Card, CardError, Image
from contract.latents import classes_of
from training.data import DataError, load, of_card
from training.data.pictures import PictureFile, decode
from training.errors import TrainingError
from training.export.model_card import next_to
from training.files import model_file, write_json, write_whole
from training.metrics.classifier import has_classifier
from training.metrics.completion import (
    MOST_STARTS,
    Completion,
    MaskKind,
    complete,
    fill,
    fill_with_mean,
    hole_psnr,
    make_mask,
)
from training.report import Progress
from training.report.pictures import png_bytes
from training.report.samples import draw_grid
from training.run.context import JobContext
from training.run.launch import Device, device_of
from training.run.searchable import SearchableGenerator, open_generator

RESULTS = "completion.json"
SHEET = "sheet.png"
SHOWN = 16
"""Pictures on the sheet."""
HOLE = 128
"""Grey level of a hole on the sheet."""
COMMON_STEPS = 1_000
WRITER = "gan-serve complete"
"""What the pictures that were written have in their PNG text `Software`, so that they may be replaced."""


@dataclass(frozen=True, kw_only=True)
class Complete:
    """Fill the hole in each picture from a generated image: Adam searches latents whose image agrees with the known pixels.

    Writes each completed picture as PNG, and a sheet: picture, hole, generated image, completed picture. With a run directory
    the search also uses its discriminator; a model file has none.

    The mask hides the middle half of each side (center), the left half (left), a fifth of the pixels (random), or all but every
    fourth pixel of every fourth row (grid).

    With --test the command completes test images of the model's data instead of pictures, and measures the PSNR in the hole and
    the accuracy of a classifier.
    """

    model: tyro.conf.Positional[Path]
    """Run directory or model file of a generator of images."""
    pictures: tyro.conf.Positional[tuple[Path, ...]] = ()
    """Pictures, whole or with the hole in them; each is cut and scaled to the model's size."""
    mask: Annotated[MaskKind, tyro.conf.arg(aliases=["-m"])] = "center"
    """Mask that hides a part of each picture."""
    test: int = 0
    """Number of test images of the model's data to complete instead of pictures."""
    steps: int = COMMON_STEPS
    """Number of Adam's steps."""
    rate: float = 0.01
    """Adam's learning rate."""
    weight: float = 0.1
    """Weight of the discriminator's term in the loss, -log D; 0 leaves it out."""
    starts: int | None = None
    """Number of starting points, the best of which goes on after a tenth of the steps; by default one, or one a class."""
    seed: int = 0
    """Seed of the mask `random`."""
    out: Path | None = None
    """Folder to write to; by default completed-MASK in the run, or next to model.onnx, and NAME-completed-MASK of NAME.onnx."""
    device: Device = "auto"
    """Device; auto is CUDA where there is a GPU."""

    def __call__(self, console: Console) -> int:
        if bool(self.pictures) == bool(self.test):
            raise TrainingError("complete needs pictures, or --test with a number of test images, and not both")
        for name in ("steps", "rate", "starts"):
            if (value := getattr(self, name)) is not None and not 0 < value < math.inf:
                raise TrainingError(f"--{name} must be above 0 and finite, got {value:g}")
        for name in ("test", "weight"):
            if not 0 <= (value := getattr(self, name)) < math.inf:
                raise TrainingError(f"--{name} must be 0 or more and finite, got {value:g}")
        if (self.starts or 1) > MOST_STARTS:
            raise TrainingError(f"--starts must be at most {MOST_STARTS:,}, got {self.starts:,}")
        if not 0 <= self.seed < 2**32:
            raise TrainingError(f"--seed must be 0..{2**32 - 1}, got {self.seed}")
        folder = self.model if self.model.is_dir() else self.model.parent
        out = self.out or next_to(model_file(self.model), f"completed-{self.mask}")
        if any(path.resolve() == (out / f"{path.stem}.png").resolve() for path in self.pictures):
            raise TrainingError(f"--out {out} holds the pictures themselves, which would be replaced: name another folder")
        if self.out is not None:  # the default folder is this command's own
            for path in (out / SHEET, *(out / f"{path.stem}.png" for path in self.pictures)):
                _require_own(path)
        context = JobContext(run=folder, device=device_of(self.device), environ=os.environ, console=console)
        try:
            generator = open_generator(self.model, context)
        except CardError as error:
            raise TrainingError(f"{model_file(self.model)}: {error}") from None
        out.mkdir(parents=True, exist_ok=True)
        if self.test:
            self._measure(generator, context, out)
        else:
            self._complete(generator, context, out)
        return 0

    def _complete(self, generator: SearchableGenerator, context: JobContext, out: Path) -> None:
        """The pictures that were named."""
        names = [path.stem for path in self.pictures]
        if len(set(names)) < len(names) or Path(SHEET).stem in names:
            raise TrainingError(f"pictures must have different names, none of them {Path(SHEET).stem}, got {', '.join(names)}")
        wanted = torch.from_numpy(np.stack([read_picture(path, generator.card) for path in self.pictures])).to(context.device)
        made, losses = self._search(generator, wanted, context)
        for name, picture, completed, (before, after) in zip(names, wanted, made.completed, losses, strict=True):
            path = out / f"{name}.png"
            write_whole(path, png_bytes(_pillow(completed), WRITER))
            fillings = (completed[None], fill_with_mean(picture[None], made.mask))
            ours, mean = (hole_psnr(filling, picture[None], made.mask) for filling in fillings)
            context.say(
                f"{path}: loss {before:.1f} -> {after:.1f}; in the hole {ours:.1f} dB, filled with the mean {mean:.1f} dB"
            )
        self._draw(wanted, made, context, out)

    def _measure(self, generator: SearchableGenerator, context: JobContext, out: Path) -> None:
        """The first test images of the model's data."""
        data, size = of_card(generator.card.data, context.run), generator.output.height
        train = load(data, size=size, environ=context.environ).to(context.device)
        test = load(data, split="test", size=size, environ=context.environ).to(context.device)
        wanted = test.items[: self.test]
        classifier = context.classifier_of(train) if test.labels is not None and has_classifier(train) else None
        asked = {
            "model": {
                "name": generator.card.name,
                "steps": generator.card.steps,
                "sha256": generator.digest,
                "discriminator": generator.doubt is not None,
            },
            "data": data,
            "samples": len(wanted),
            "search": {name: getattr(self, name) for name in ("mask", "steps", "rate", "weight", "starts", "seed")},
            "classifier": None if classifier is None else classifier.name,
        }
        path = out / RESULTS
        if self.out is None and _holds(path, asked):
            context.say(f"{path} holds this search of this model already")
            return
        made, _ = self._search(generator, wanted, context)
        values = {
            "psnr": hole_psnr(made.completed, wanted, made.mask),
            "psnr-mean-filling": hole_psnr(fill_with_mean(wanted, made.mask), wanted, made.mask),
            "psnr-mean-image": hole_psnr(
                fill(wanted, made.mask, (train.items.float().mean(0) / 255).expand(wanted.shape)), wanted, made.mask
            ),
        }
        values["psnr-gain"] = values["psnr"] - values["psnr-mean-filling"]
        if classifier is not None and test.labels is not None:
            hidden = fill(wanted, made.mask, torch.zeros_like(wanted, dtype=torch.float32))
            for name, images in {"real": wanted, "masked": hidden, "completed": made.completed}.items():
                values[f"accuracy-{name}"] = classifier.accuracy_on(images, test.labels[: self.test])
            values["accuracy-gain"] = values["accuracy-completed"] - values["accuracy-masked"]
        write_json(path, {**asked, "values": values})
        listed = ", ".join(f"{name} {value:.4g}" for name, value in values.items())
        context.say(f"on {len(wanted):,} test images of {data}: {listed}")
        self._draw(wanted, made, context, out)

    def _search(
        self, generator: SearchableGenerator, wanted: Tensor, context: JobContext
    ) -> tuple[Made, list[tuple[float, float]]]:
        starts = self.starts or classes_of(generator.card.latents) or 1
        how = Completion(steps=self.steps, rate=self.rate, weight=self.weight, starts=starts)
        mask = make_mask(self.mask, *wanted.shape[2:], seed=self.seed).to(wanted.device)
        doubt = generator.doubt if self.weight else None
        context.say(
            f"{generator.card.name}, {int((~mask).sum()):,} of {mask.numel():,} pixels missing, "
            f"{'with' if doubt else 'without'} a discriminator, {starts} {'start' if starts == 1 else 'starts'} a picture"
        )
        began = time.monotonic()
        total = how.steps * -(-len(wanted) // how.batch)
        with Progress(total, title=f"completing {len(wanted):,}", console=context.console) as progress:

            def tell(step: int, loss: float) -> None:
                if step % 10 == 0 or step == total:
                    progress.update(step, step * min(len(wanted), how.batch), {"loss": loss})

            found = complete(generator.make, generator.card.latents, wanted.float() / 255, mask, how, doubt=doubt, tell=tell)
        context.console.print(f"searched for {time.monotonic() - began:.0f} s", highlight=False)
        images = (found.images * 255).round().clamp(0, 255).to(torch.uint8)
        made = Made(mask, images, fill(wanted, mask, found.images))
        return made, list(zip(found.first_loss.tolist(), found.loss.tolist(), strict=True))

    def _draw(self, wanted: Tensor, made: Made, context: JobContext, out: Path) -> None:
        """The sheet: four images in a row for each picture."""
        holes = torch.where(made.mask, wanted, torch.full_like(wanted, HOLE))
        parts = [x[:SHOWN] for x in (wanted, holes, made.images, made.completed)]
        gap = torch.full_like(parts[0][..., :1], HOLE // 2)
        rows = torch.cat([x for part in parts for x in (gap, part)][1:], 3)
        path = out / SHEET
        write_whole(path, png_bytes(draw_grid(rows.permute(0, 2, 3, 1).cpu().numpy()), WRITER))
        context.say(f"{path}: picture, hole, generated image, completed picture")


@dataclass(frozen=True)
class Made:
    """What a search gave."""

    mask: Tensor
    """bool [H,W], True where a pixel is known."""
    images: Tensor
    """uint8 [N,C,H,W], G's images."""
    completed: Tensor
    """uint8 [N,C,H,W], the pictures with their holes filled."""


def _holds(path: Path, asked: Mapping[str, Any]) -> bool:
    """Whether a file of results is of that search; one that is damaged is of none."""
    try:
        before = json.loads(path.read_text())
        return bool({**before, **asked} == before)
    except (FileNotFoundError, ValueError, TypeError):
        return False


def read_picture(path: Path, card: Card) -> NDArray[np.uint8]:
    """A picture file at the model's size, uint8 [C,H,W].

    Raises:
        DataError: it is no readable image; the message says why.
    """
    assert isinstance(card.output, Image)
    size, channels = card.output.height, card.output.channels
    if card.output.width != size:
        raise TrainingError(f"{card.name} makes images of {card.output.width}x{size}, not square ones")
    pixels = np.empty((3, size, size), np.uint8)
    bad = decode(PictureFile(PurePosixPath(path.name), path), pixels)
    if bad is not None:
        raise DataError(f"{path} {bad.reason}")
    if channels == 3:
        return pixels
    return np.asarray(Pillow.fromarray(pixels.transpose(1, 2, 0)).convert("L"))[None]


def _require_own(path: Path) -> None:
    """Refuse a place where another program's file is.

    Raises:
        TrainingError: naming it.
    """
    if path.exists():
        with path.open("rb") as file:
            if WRITER.encode() not in file.read(256):  # the text stands before the pixels
                raise TrainingError(f"{path} is not from `complete` and would be replaced: name another folder with --out")


def _pillow(image: Tensor) -> Pillow.Image:
    pixels = image.permute(1, 2, 0).cpu().numpy()
    return Pillow.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels)
