"""PPGN's recipe: the classifiers, and the other samplers of the same nets."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import onnx
import pytest
import torch
from onnx import numpy_helper

from contract import Categorical, card_from_metadata, check_names
from tests.training.conftest import shortened, tiny_config, tiny_context, train_tiny
from training.__main__ import main
from training.metrics.rows import PARITY, _grouping
from training.recipes import CATALOGUE
from training.run.job import MODEL, card_of, open_run
from training.run.variants import model_of, variant_of


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two steps of the small game on 5,000 digits."""
    folder = tmp_path_factory.mktemp("ppgn")
    train_tiny(tiny_config("ppgn_small", folder, steps=2), folder)
    return folder


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """The chain of two steps that the run was exported with, and the cache that all tests share."""
    monkeypatch.setenv("XDG_CACHE_HOME", os.environ["TEST_CACHE"])
    monkeypatch.setitem(CATALOGUE, "ppgn_small", shortened(CATALOGUE["ppgn_small"]))


@pytest.mark.slow
def test_the_classifiers_are_trained_before_the_game_and_frozen(run: Path) -> None:
    """They name most digits, and most parities, after two steps; no player moves them."""
    game, data = open_run(tiny_context(run))
    assert data.labels is not None
    with torch.no_grad():
        digits, parities = (game.nets[name](data.items.float() / 255).argmax(1) for name in "CP")
    assert (digits == data.labels).float().mean() > 0.9
    assert (parities == data.labels % 2).float().mean() > 0.9
    assert not any(weight.requires_grad for name in "CP" for weight in game.nets[name].parameters())


@pytest.mark.slow
def test_another_classifier_is_a_second_file_of_the_same_generator(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`export --variant parity`: y is even or odd; the weights of G are those of the first file, byte for byte."""
    assert main(["export", str(run), "--variant", "parity"]) == 0
    assert "model-parity.onnx" in capsys.readouterr().out
    first, other = (onnx.load(run / name) for name in (MODEL, "model-parity.onnx"))
    card = card_from_metadata({entry.key: entry.value for entry in other.metadata_props})
    assert (card.name, card.classes, card.latents["y"]) == ("ppgn_small-parity-mnist5k", PARITY, Categorical(2))
    weights = [
        {array.tobytes() for tensor in model.graph.initializer if (array := numpy_helper.to_array(tensor)).size > 256}
        for model in (first, other)
    ]
    game, _ = open_run(tiny_context(run))
    g = {weight.detach().numpy().tobytes() for weight in game.nets["G"].parameters() if weight.dim() > 1}
    assert g <= weights[0] & weights[1]
    assert weights[0] != weights[1]


@pytest.mark.slow
def test_a_variant_has_a_name_that_can_stand_in_a_url(run: Path) -> None:
    """Of data from a folder, too, whose name has a colon and may have anything."""
    game, data = open_run(tiny_context(run))
    mine = replace(data, name="folder:my digits")
    _, card, _ = model_of(game, mine, card_of(game, mine), variant_of(game.recipe, "parity"))
    check_names(card)
    assert card.name == "ppgn_small-parity-folder-my-digits"


@pytest.mark.slow
@pytest.mark.parametrize(("recipe", "known"), [("ppgn_small", "parity, no-prior"), ("toy1d", "none")])
def test_an_unknown_variant_is_one_sentence(
    recipe: str, known: str, run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It names those of the recipe."""
    if recipe != "ppgn_small":
        run = tmp_path
        train_tiny(tiny_config(recipe, run, steps=1), run, is_exported=False)
    assert main(["export", str(run), "--variant", "hue"]) == 2
    assert f"the variants of {recipe} are {known}, got 'hue'" in capsys.readouterr().err


def test_parity_is_read_from_the_class_of_a_digit() -> None:
    """Even and odd of ten digits; the same classes are themselves; others are not compared."""
    digits = tuple(map(str, range(10)))
    seen = torch.tensor([0, 3, 8])
    parity, same = _grouping(PARITY, digits), _grouping(digits, digits)
    assert parity is not None
    assert same is not None
    assert parity(seen).tolist() == [0, 1, 0]
    assert same(seen).tolist() == [0, 3, 8]
    assert _grouping(PARITY, ("cat", "dog")) is None
