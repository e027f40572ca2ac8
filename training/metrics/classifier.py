"""A classifier of the data set itself, trained here with a fixed seed, cached, named by its weights."""

from __future__ import annotations

import hashlib
import io
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from training.data import DataSet
from training.errors import ScoreError, first_line
from training.files import write_whole
from training.metrics import lenet

log = logging.getLogger(__name__)

HELD_OUT = 2_000
"""Most images of its own data that are held out to examine the classifier; never more than a tenth of them."""

MOST_KNOWN, MOST_KNOWN_BYTES = 100_000, 512 * 2**20
"""Most images that a classifier learns from, and their bytes at most: they are in memory at once."""

MOST_VALUES = 500 * 32 * 32 * 3
"""Values of images that it looks at together at most: 500 of 32x32 in colour; those of 128x128 took 1 GB."""


@dataclass(frozen=True)
class ClassifierOutput:
    """What a classifier saw in N images; both on the CPU."""

    features: Tensor
    """float64 [N,128], the penultimate layer."""
    probabilities: Tensor
    """float64 [N,K], the softmax."""
    names: tuple[str, ...] = ()
    """What the K classes are called; empty where that is not known."""

    @property
    def classes(self) -> Tensor:
        """int64 [N], the likeliest class of each image."""
        return self.probabilities.argmax(1)

    def __getitem__(self, rows: slice | Tensor) -> ClassifierOutput:
        return ClassifierOutput(self.features[rows], self.probabilities[rows], self.names)

    def __len__(self) -> int:
        return len(self.features)


class Classifier(nn.Module):
    """A trained LeNet that can only be asked. It is torchmetrics' ``feature`` module too: uint8 images in, features out.

    It stays in evaluation mode even after `train()`: dropout would change every score.
    """

    num_features = lenet.FEATURES

    def __init__(
        self, net: lenet.LeNet, *, shape: tuple[int, ...], data: str, classes: tuple[str, ...], accuracy: float, held_out: int
    ) -> None:
        super().__init__()
        self.net = net
        self.shape = shape
        """[C,H,W] of the images it knows."""
        self.data = data
        """The data set that it was trained on."""
        self.classes = classes
        """What its K answers are called."""
        self.accuracy = accuracy
        """Share of ``held_out`` images of its own data, never trained on, that it names right; NaN where there are none."""
        self.held_out = held_out
        self.name = f"lenet@{weights_digest(net.state_dict())[:6]}"
        """``lenet@3fa1c2``: the net and the first digits of the SHA-256 of its weights."""
        self.requires_grad_(False)
        self.eval()

    def train(self, mode: bool = True) -> Classifier:
        """Stays in evaluation mode."""
        super().train(False)
        return self

    def forward(self, images: Tensor) -> Tensor:
        """Features float64 [N,128] of uint8 images [N,C,H,W]."""
        return self.net.features(self._checked(images)).double()

    @torch.no_grad()
    def features_of(self, images: Tensor, *, batch: int = 500) -> ClassifierOutput:
        """Features and class probabilities of uint8 images [N,C,H,W], wherever they lie; fewer at once than ``batch`` if large.

        Raises:
            ScoreError: the images have another shape than those it knows.
        """
        device = next(self.net.parameters()).device
        batch = max(1, min(batch, MOST_VALUES // images[0].numel()))
        features = [self.net.features(self._checked(part).to(device)) for part in torch.split(images, batch)]
        logits = [self.net.logits(part) for part in features]
        probabilities = torch.cat(logits).double().softmax(1).cpu()
        return ClassifierOutput(torch.cat(features).double().cpu(), probabilities, self.classes)

    def accuracy_on(self, images: Tensor, labels: Tensor) -> float:
        """Share of images [N,C,H,W] that it gives their label [N]."""
        return float((self.features_of(images).classes == labels.cpu()).double().mean())

    def _checked(self, images: Tensor) -> Tensor:
        if images.dtype != torch.uint8 or tuple(images.shape[1:]) != self.shape:
            raise ScoreError(
                f"{self.name} knows uint8 images of {list(self.shape)}, got {images.dtype} of {list(images.shape[1:])}"
            )
        return images


def has_classifier(data: DataSet) -> bool:
    """Whether a classifier of the data can be trained, without which no KID is measured; one image has no KID."""
    return data.is_image and data.labels is not None and min(data.shape[1:]) >= lenet.SMALLEST and len(data) > 1


def classifier_for(
    data: DataSet, *, cache: Path, device: torch.device | str = "cpu", say: Callable[[str], None] = log.info
) -> Classifier:
    """The classifier of a labelled image data set, from the cache or else trained now and put there.

    Args:
        data: uint8 images at least 8x8, with labels.
        cache: directory, made if need be; one small file a data set.
        device: where to train and to classify.
        say: called with a sentence when it takes time, and when the cached file was not usable or cannot be written.

    Raises:
        ScoreError: the data has no labels, or is not images, or smaller ones.
    """
    if data.labels is None or not data.is_image:
        raise ScoreError(f"a classifier needs labelled images; {data.name} has none")
    height, width = data.shape[1:]
    if min(height, width) < lenet.SMALLEST:
        least = f"at least {lenet.SMALLEST}x{lenet.SMALLEST} pixels"
        raise ScoreError(f"a classifier needs images of {least}; those of {data.name} are of {height}x{width}")
    key = content_digest(data)
    path = cache / f"lenet-v{lenet.VERSION}-{key[:16]}.pt"
    held_out = min(HELD_OUT, len(data.items) // 10)
    saved = _load(path, key, say, held_out)
    if saved is None:
        known = min(len(data.items) - held_out, MOST_KNOWN, max(1, MOST_KNOWN_BYTES // data.items[0].nbytes))
        say(f"training the classifier of {data.name} on {known:,} images; once, then it is cached")
        trained = _train(data, known, held_out, torch.device(device)) | {"key": key}
        # Where another job was faster, what was measured by its weights stays true. A damaged file was said above.
        saved = _load(path, key, lambda text: None, held_out) or _kept(path, trained, say)
    net = lenet.LeNet(data.shape, len(data.classes))
    net.load_state_dict(saved["weights"])
    return Classifier(
        net.to(device),
        shape=data.shape,
        data=data.name,
        classes=tuple(data.classes),
        accuracy=saved["accuracy"],
        held_out=held_out,
    )


def _train(data: DataSet, count: int, held_out: int, device: torch.device) -> dict[str, Any]:
    """A classifier that learned from ``count`` images and was examined on ``held_out`` others."""
    assert data.labels is not None
    order = torch.randperm(len(data.items), generator=torch.Generator().manual_seed(0)).to(data.items.device)
    known, unknown = order[held_out:][:count], order[:held_out]
    net = lenet.trained(data.items[known], data.labels[known], classes=len(data.classes), device=device)
    classifier = Classifier(net, shape=data.shape, data=data.name, classes=tuple(data.classes), accuracy=0.0, held_out=held_out)
    accuracy = classifier.accuracy_on(data.items[unknown], data.labels[unknown]) if held_out else float("nan")
    weights = {name: value.cpu() for name, value in net.state_dict().items()}
    return {"weights": weights, "digest": weights_digest(weights), "accuracy": accuracy}


def weights_digest(weights: Mapping[str, Tensor]) -> str:
    """SHA-256 over the names, shapes and little-endian values of all weights."""
    digest = hashlib.sha256()
    for name, value in sorted(weights.items()):
        array = value.detach().cpu().contiguous().numpy()
        digest.update(f"{name}{array.shape}".encode() + array.astype(array.dtype.newbyteorder("<")).tobytes())
    return digest.hexdigest()


def content_digest(data: DataSet) -> str:
    """SHA-256 over name, classes, images and labels: what a classifier's weights depend on, in addition to its recipe."""
    assert data.labels is not None
    digest = hashlib.sha256(repr((lenet.VERSION, data.name, tuple(data.classes), tuple(data.items.shape))).encode())
    for part in data.contents():
        digest.update(part)
    digest.update(data.labels.cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def _load(path: Path, key: str, say: Callable[[str], None], held_out: int) -> dict[str, Any] | None:
    """What was saved, or None where nothing is or where it is not what it says; its accuracy where images were held out."""
    if not path.exists():
        return None
    try:
        saved = torch.load(path, map_location="cpu", weights_only=True)
        is_known = 0 <= saved["accuracy"] <= 1 or not held_out
        if saved["key"] == key and saved["digest"] == weights_digest(saved["weights"]) and is_known:
            return dict(saved)
        reason = "its digest does not match its weights"
    except Exception as error:  # torch.load has no error of its own; any damaged file is made anew
        reason = first_line(error)
    say(f"the cached classifier {path.name} is damaged and is trained again: {reason}")
    return None


def _kept(path: Path, trained: dict[str, Any], say: Callable[[str], None]) -> dict[str, Any]:
    """Save a classifier, and say so where it cannot be saved."""
    buffer = io.BytesIO()
    torch.save(trained, buffer)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, buffer.getbuffer())
    except OSError as error:
        say(f"the classifier is not kept: {error.strerror or error}: {path}")
    return trained
