"""What holds for every recipe of the catalogue."""

from __future__ import annotations

import copy
import io
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch

from contract import Points, card_from_metadata, draw
from serving.app import create_app
from serving.settings import Settings
from tests.training.conftest import REHEARSED, tiny_config, tiny_context
from training.export.sample_grid import sample_game
from training.game.loop import play
from training.recipes import CATALOGUE
from training.run.job import MODEL, _set_up, train


@pytest.fixture(autouse=True)
def one_thread() -> None:
    """Nets this small run best on one core."""
    torch.set_num_threads(1)


@pytest.mark.parametrize("name", CATALOGUE)
def test_two_steps_move_every_trained_net_and_stay_finite(name: str, picture_folder: Path, tmp_path: Path) -> None:
    """After two steps every net that a player owns has other weights, all of them finite."""
    game, _ = _set_up(tiny_config(name, picture_folder, steps=2), tiny_context(tmp_path))
    before = copy.deepcopy({role: net.state_dict() for role, net in game.nets.items()})
    list(play(game, 2))
    for player in game.recipe.players:
        for role in player.nets:
            weights = game.nets[role].state_dict()
            assert any(not torch.equal(weights[key], before[role][key]) for key, _ in game.nets[role].named_parameters()), role
            assert all(w.isfinite().all() for w in weights.values())


@pytest.mark.parametrize("name", REHEARSED)
def test_what_is_trained_is_exported_and_served(name: str, picture_folder: Path, tmp_path: Path) -> None:
    """A trained recipe leaves a model whose card is right, that onnxruntime runs as torch does, and that the service serves."""
    config, context = tiny_config(name, picture_folder, steps=2), tiny_context(tmp_path / "run")
    assert train(config, context)
    path = context.run / MODEL

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    card = card_from_metadata(session.get_modelmeta().custom_metadata_map)
    assert (card.recipe, card.steps, session.get_outputs()[0].name) == (name, 2, card.output.kind)
    assert [i.name for i in session.get_inputs()] == list(card.latents)

    overrides = session.run(None, dict(draw(card.latents, list(range(5)))))[0]
    game, data = _set_up(config, context)
    list(play(game, 2))
    expected = sample_game(game, data, range(5))
    assert overrides.dtype == expected.dtype
    tolerance = 1e-4 * (1 + np.abs(expected)) if isinstance(card.output, Points) else 1
    assert (np.abs(overrides.astype(float) - expected.astype(float)) <= tolerance).all()

    client = create_app(Settings(models=(str(path),), workers=1)).flask.test_client()
    answer = client.get("/generate?seed=3&format=npy")
    assert answer.status_code == 200
    assert (np.load(io.BytesIO(answer.data)).reshape(overrides[3].shape) == overrides[3]).all()
