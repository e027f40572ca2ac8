"""What the tests of measures share: the 8x8 digits, their classifier, and tiny ONNX models with a card inside."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

from contract import METADATA_KEY, Card, Categorical, Image, Latents, Normal, Output, Points, card_to_json
from training.data import DataSet, load
from training.metrics.classifier import Classifier, classifier_for

ModelFile = Callable[..., Path]
_value = helper.make_tensor_value_info


def pytest_itemcollected(item: pytest.Item) -> None:
    """A test with the classifier waits until it is trained, so that ``make test-quick`` leaves it out."""
    if "classifier" in getattr(item, "fixturenames", ()):
        item.add_marker(pytest.mark.slow)


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> Iterator[None]:
    """Nets this small gain nothing from a second thread, and wait long for it on a busy machine."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def digits() -> DataSet:
    """The training part of the 8x8 digits."""
    return load("digits", environ={})


@pytest.fixture(scope="session")
def digits_test() -> DataSet:
    """The test part of the 8x8 digits."""
    return load("digits", split="test", environ={})


@pytest.fixture(scope="session")
def cache(digits: DataSet, make_once: Callable[[str, Callable[[Path], None]], Path]) -> Path:
    """A folder of classifiers, with that of the 8x8 digits, which one process trains for all."""

    def train(folder: Path) -> None:
        classifier_for(digits, cache=folder)

    return make_once("classifiers", train)


@pytest.fixture(scope="session")
def classifier(digits: DataSet, cache: Path) -> Classifier:
    """The classifier of the 8x8 digits."""
    return classifier_for(digits, cache=cache)


def _card(latents: Latents, output: Output, data: str, classes: tuple[str, ...]) -> Card:
    return Card(
        name=f"tiny-{data}",
        recipe="tiny",
        paper="none",
        latents=latents,
        output=output,
        classes=classes,
        data=data,
        data_licence="none",
        steps=0,
        images=0,
        runtime="none",
    )


def _write(
    path: Path,
    nodes: list[onnx.NodeProto],
    weights: Mapping[str, np.ndarray],
    inputs: list[onnx.ValueInfoProto],
    output: onnx.ValueInfoProto,
    card: Card,
) -> Path:
    initializers = [numpy_helper.from_array(value, name) for name, value in weights.items()]
    graph = helper.make_graph(nodes, "tiny", inputs, [output], initializers)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    helper.set_model_props(model, {METADATA_KEY: card_to_json(card)})
    onnx.save(model, path)
    return path


@pytest.fixture
def picker(tmp_path: Path, digits: DataSet) -> ModelFile:
    """A conditional model with one fixed picture a class, ``picker(classes)``, for every z; of two classes a 0 and a 1."""

    def write(classes: tuple[str, ...] = digits.classes) -> Path:
        assert digits.labels is not None
        firsts = [int((digits.labels == label).nonzero()[0]) for label in range(len(classes))]
        pictures = digits.items[firsts].permute(0, 2, 3, 1).numpy()
        nodes = [helper.make_node("Gather", ["pictures", "y"], ["image"])]
        card = _card({"z": Normal(2), "y": Categorical(len(classes))}, Image(8, 8, 1), "digits", classes)
        inputs = [_value("z", TensorProto.FLOAT, ["n", 2]), _value("y", TensorProto.INT64, ["n"])]
        image = _value("image", TensorProto.UINT8, ["n", 8, 8, 1])
        return _write(tmp_path / "model.onnx", nodes, {"pictures": pictures}, inputs, image, card)

    return write


@pytest.fixture
def line(tmp_path: Path) -> ModelFile:
    """A model that is perfect for gaussian1d: 4 + ``sd`` z."""

    def write(sd: float = 0.5) -> Path:
        nodes = [helper.make_node("Mul", ["z", "sd"], ["wide"]), helper.make_node("Add", ["wide", "mean"], ["points"])]
        weights = {"sd": np.array(sd, np.float32), "mean": np.array(4, np.float32)}
        card = _card({"z": Normal(1)}, Points(1, (0.0,), (8.0,)), "gaussian1d", ())
        made = _value("points", TensorProto.FLOAT, ["n", 1])
        return _write(tmp_path / "model.onnx", nodes, weights, [_value("z", TensorProto.FLOAT, ["n", 1])], made, card)

    return write
