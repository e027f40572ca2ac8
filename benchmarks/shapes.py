"""Pictures of known factors (shape, colour, position), and the share of the factors that a model's samples show.

    python -m benchmarks.shapes draw pictures                 # 2,000 pictures of 64x64, a sub-folder for each shape
    python -m benchmarks.shapes recall runs/x/model.onnx      # by a classifier of the factors, trained on other pictures

Recall is the share of the 180 combinations (4 shapes, 5 colours, 9 positions) that at least one of 2,000 samples shows. A
sample counts only where the classifier takes it for whole: it was also trained to refuse noise, empty pictures and broken
figures.
"""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from torch import Tensor
from torch.nn import functional as F

from training.metrics.lenet import LeNet
from training.metrics.sampled import sample_model

SHAPES = ("circle", "cross", "square", "triangle")
COLOURS = {
    "blue": (40, 70, 200),
    "green": (30, 140, 60),
    "orange": (240, 140, 20),
    "purple": (140, 50, 160),
    "red": (210, 40, 40),
}
PLACES = (13, 32, 51)
"""Centres on each axis, in pixels."""
SIDE, FINE = 64, 4
"""A picture's side, and how much finer it is drawn before it is reduced."""
FACTORS = tuple(itertools.product(range(len(SHAPES)), range(len(COLOURS)), range(len(PLACES) ** 2)))
SIZES = (len(SHAPES), len(COLOURS), len(PLACES) ** 2, 2)
"""Values of shape, colour and position, and of whether the picture is whole."""
Factors = tuple[int, int, int]


def draw_picture(factors: Factors, dice: np.random.Generator) -> NDArray[np.uint8]:
    """One picture [64,64,3]; size, place within two pixels and the light background are drawn from ``dice``."""
    shape, colour, place = factors
    grey = int(dice.integers(205, 251))
    picture = Image.new("RGB", (SIDE * FINE,) * 2, (grey,) * 3)
    x, y = (FINE * (PLACES[i] + dice.uniform(-2, 2)) for i in (place % 3, place // 3))
    r = FINE * dice.uniform(7.5, 9.5)
    pen, ink = ImageDraw.Draw(picture), list(COLOURS.values())[colour]
    match SHAPES[shape]:
        case "circle":
            pen.ellipse((x - r, y - r, x + r, y + r), fill=ink)
        case "square":
            pen.rectangle((x - 0.9 * r, y - 0.9 * r, x + 0.9 * r, y + 0.9 * r), fill=ink)
        case "triangle":
            pen.polygon([(x, y - 1.1 * r), (x - 1.1 * r, y + 0.9 * r), (x + 1.1 * r, y + 0.9 * r)], fill=ink)
        case "cross":
            pen.rectangle((x - r, y - 0.35 * r, x + r, y + 0.35 * r), fill=ink)
            pen.rectangle((x - 0.35 * r, y - r, x + 0.35 * r, y + r), fill=ink)
    return np.asarray(picture.resize((SIDE, SIDE), Image.Resampling.BOX))


def draw_pictures(count: int, seed: int) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Pictures [N,64,64,3] and their factors [N,3], each combination as often as the others, in random order."""
    dice = np.random.default_rng(seed)
    rounds = [dice.permutation(len(FACTORS)) for _ in range(0, count, len(FACTORS))]
    chosen = [FACTORS[i] for i in np.concatenate(rounds)[:count]]
    return np.stack([draw_picture(factors, dice) for factors in chosen]), np.array(chosen)


def break_pictures(pictures: NDArray[np.uint8], dice: np.random.Generator) -> NDArray[np.uint8]:
    """Pictures that show no whole figure: two mixed, one cut by the edge, a half rubbed out, the background alone, or noise."""
    broken = pictures.copy()
    others = pictures[dice.permutation(len(pictures))]
    for number, (picture, other) in enumerate(zip(broken, others, strict=True)):
        rows, columns = np.nonzero(picture.min(2) < 200)
        match number % 5:
            case 0:
                picture[:] = ((picture.astype(int) + other) // 2).astype(np.uint8)
            case 1:
                picture[:] = np.roll(picture, -round(columns.mean()), 1)
            case 2:
                picture[: round(rows.mean())] = picture[0, 0]
            case 3:
                picture[:] = picture[0, 0]
            case 4:
                picture[:] = np.clip(picture + dice.normal(0, 60, picture.shape), 0, 255).astype(np.uint8)
    return broken


def fit_classifier(count: int = 9000, epochs: int = 6, *, seed: int = 1) -> LeNet:
    """A LeNet of all factors and of whether a picture is whole, fitted to ``count`` pictures and half as many broken ones."""
    pictures, factors = draw_pictures(count, seed)
    dice = np.random.default_rng(seed)
    images = as_tensor(np.concatenate([pictures, break_pictures(pictures[: count // 2], dice)]))
    labels = torch.from_numpy(np.concatenate([factors, np.full((count // 2, 3), -1)]))
    is_whole = (labels[:, :1] >= 0).long()
    labels = torch.cat([labels, is_whole], 1)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        net = LeNet((3, SIDE, SIDE), sum(SIZES))
        steps = epochs * (len(images) // 64)
        optimiser = torch.optim.AdamW(net.parameters(), 2e-3, weight_decay=1e-2)
        rate = torch.optim.lr_scheduler.OneCycleLR(optimiser, 2e-3, total_steps=steps)
        for _ in range(steps):
            rows = torch.randint(len(images), (64,))
            heads = net.logits(net.features(images[rows])).split(SIZES, 1)
            loss = sum(F.cross_entropy(head, labels[rows, i], ignore_index=-1) for i, head in enumerate(heads))
            assert isinstance(loss, Tensor)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            rate.step()
    return net.eval()


def as_tensor(pictures: NDArray[np.uint8]) -> Tensor:
    """[N,H,W,3] -> [N,3,H,W]."""
    return torch.from_numpy(pictures).permute(0, 3, 1, 2).contiguous()


class Classifier(Protocol):
    """What reads factors: LeNet, or a test's own."""

    def features(self, images: Tensor) -> Tensor: ...
    def logits(self, features: Tensor) -> Tensor: ...


@dataclass(frozen=True)
class Shown:
    """What the classifier sees in a set of pictures."""

    recall: float
    """Share of the combinations of factors that at least one whole picture shows."""
    whole: float
    """Share of the pictures that are whole."""

    def __str__(self) -> str:
        return f"recall {self.recall:.3f} ({round(self.recall * len(FACTORS))} of {len(FACTORS)}), whole {self.whole:.3f}"


@torch.no_grad()
def read_factors(classifier: Classifier, images: Tensor) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """The factors [N,3] of images [N,3,64,64], and whether each is whole [N]."""
    logits = torch.cat([classifier.logits(classifier.features(part)) for part in images.split(500)])
    read = [head.argmax(1) for head in logits.split(SIZES, 1)]
    return torch.stack(read[:3], 1).numpy(), (read[3] == 1).numpy()


def measure(classifier: Classifier, images: Tensor) -> Shown:
    """Recall and the share of whole pictures of images [N,3,64,64]."""
    factors, is_whole = read_factors(classifier, images)
    return Shown(len(set(map(tuple, factors[is_whole]))) / len(FACTORS), float(is_whole.mean()))


def write_folder(folder: Path, count: int, seed: int) -> None:
    """Write pictures as PNG files, a sub-folder for each shape."""
    for number, (picture, factors) in enumerate(zip(*draw_pictures(count, seed), strict=True)):
        path = folder / SHAPES[factors[0]] / f"{number:05d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(picture).save(path)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(
        description="Draw pictures of known factors, or measure how many combinations of the factors a model shows."
    )
    commands = parser.add_subparsers(dest="command", required=True)
    draw = commands.add_parser("draw", help="write pictures")
    draw.add_argument("folder", type=Path, help="folder to write")
    draw.add_argument("--count", type=int, default=2000, help="number of pictures")
    draw.add_argument("--seed", type=int, default=0, help="random seed of the pictures")
    recall = commands.add_parser("recall", help="measure a model")
    recall.add_argument("model", type=Path, help="model file")
    recall.add_argument("--samples", type=int, default=2000, help="number of samples")
    recall.add_argument("--pictures", type=int, default=9000, help="number of pictures on which the classifier is trained")
    options = parser.parse_args(arguments)
    if options.command == "draw":
        write_folder(options.folder, options.count, options.seed)
        print(f"{options.count} pictures in {options.folder}: {', '.join(SHAPES)}")
        return
    classifier = fit_classifier(options.pictures)
    fresh, _ = draw_pictures(options.samples, seed=2)
    broken = break_pictures(fresh, np.random.default_rng(2))
    print(f"other pictures: {measure(classifier, as_tensor(fresh))}")
    print(f"broken pictures: {measure(classifier, as_tensor(broken))}")
    print(f"{options.model}: {measure(classifier, sample_model(options.model, options.samples).items)}")


if __name__ == "__main__":
    main()
