"""What holds for every recipe of the catalogue."""

from __future__ import annotations

import copy
import io
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from contract import Points, card_from_metadata
from serving.app import create_app
from serving.encoding.png import write_png
from serving.settings import Settings
from tests.training.conftest import REHEARSED, differences, few_updates, tiny_config, tiny_context, train_in_process, train_tiny
from training.export.from_onnx import DifferentiableGraph
from training.export.sample_grid import sample_game, sample_inputs, sampler_of
from training.game.loop import Game, play
from training.recipes import CATALOGUE
from training.run.checkpoint import load_newest, pack, unpack
from training.run.job import MODEL, card_of, open_run, set_up

GENERATORS = {
    "vanilla": ["vanilla_log", "vanilla_d5", "vanilla_minimax"],
    "renom": ["renom_minimax"],
    "toy1d": ["toy1d_minibatch", "toy1d_clamped", "toy1d_minibatch_clamped"],
    "salimans_small": ["salimans_20_small", "salimans_50_small", "salimans_200_small", "salimans_supervised"],
    "gan_ring8_small": [f"pacgan{n}_ring8_small" for n in (2, 3, 4)],
    "gan_grid25_small": [f"pacgan{n}_grid25_small" for n in (2, 3, 4)],
    "ebgan": ["ebgan_pt"],
    "dcgan_small": ["dcgan_torch_small", "ls_gan_small", "gls_gan_small", "least_squares_small"],
    "dcgan_torch_bare_small": [
        "dcgan_torch_bare_g_small",
        *(f"{name}_{bare}_small" for name in ("ls_gan", "gls_gan", "least_squares") for bare in ("bare", "bare_g")),
    ],
    "gman_small": ["gman_mean_small", "gman_max_small", "gman_modified_small", "gman_one_small"],
    "vaegan_small": ["vaegan_ns_small", "vae_small"],
    "r3gan_plain": ["gan_r1_r2_plain"],
    "least_squares_ring8": ["cross_entropy_ring8"],
    "pix2pix_small": ["pix2pix_l1_small"],
    "caae_small": ["caae_narrow_small"],
    "seqgan_small": ["seqgan_mle_small"],
    "progan_small": ["progan_no_deviation_small"],
}
"""Recipes with one generator and one data set: the first of them is exported and served, the others differ in weights only."""
EXPORTED_AS = {name: first for first, others in GENERATORS.items() for name in others}
EXPORTED = [name for name in REHEARSED if name not in EXPORTED_AS]
STEPS = 4
LONGER = {"renom": 20}
"""Steps of recipes whose samples differ by less than a grey level after four, so that the service takes them for one."""


def _sized(name: str) -> object:
    """A recipe as a parameter; one that has a form for two cores is slow, whose place that form takes in the quick tests."""
    return pytest.param(name, marks=pytest.mark.slow) if f"{name}_small" in CATALOGUE else name


@pytest.mark.parametrize("name", [_sized(name) for name in CATALOGUE if name not in EXPORTED_AS])
def test_two_steps_move_every_trained_net_and_stay_finite(name: str, picture_folder: Path, tmp_path: Path) -> None:
    """After two steps every net that a player owns has other weights, all of them finite."""
    with few_updates(name):
        game, _ = set_up(tiny_config(name, picture_folder, steps=2), tiny_context(tmp_path))
    before = _weights_of(game)
    list(play(game, 2))
    _assert_moved(game, before)


def _weights_of(game: Game) -> dict[str, dict[str, torch.Tensor]]:
    return copy.deepcopy({role: net.state_dict() for role, net in game.nets.items()})


def _assert_moved(game: Game, before: dict[str, dict[str, torch.Tensor]]) -> None:
    for player in game.recipe.players:
        for role in player.nets:
            weights = game.nets[role].state_dict()
            assert any(not torch.equal(weights[key], before[role][key]) for key, _ in game.nets[role].named_parameters()), role
            assert all(w.isfinite().all() for w in weights.values())


@pytest.mark.process
@pytest.mark.parametrize("name", [pytest.param(name, marks=pytest.mark.xdist_group(name)) for name in EXPORTED])
def test_a_recipe_is_resumed_exported_and_served(name: str, picture_folder: Path, tmp_path: Path) -> None:
    """A run that another process resumes half-way ends in the same bytes; the model answers what torch does, and is served."""
    steps = LONGER.get(name, STEPS)
    config = tiny_config(name, picture_folder, steps=steps)
    whole, resumed = tmp_path / "whole", tmp_path / "resumed"
    train_tiny(config, whole)
    _copy_without_last_checkpoint(whole, resumed)
    assert train_in_process(config, resumed, is_exported=False) == 0
    _assert_equal_runs(whole, resumed, steps)
    with few_updates(name):
        _assert_served(whole, name, steps)


@pytest.mark.slow
@pytest.mark.parametrize("name", EXPORTED_AS)
def test_a_twin_of_an_exported_recipe_is_resumed(name: str, picture_folder: Path, tmp_path: Path) -> None:
    """Another game that takes over half-way ends in the same bits; its graph and card would be those of the exported recipe.

    Every net that a player owns has other weights after two steps, all of them finite.
    """
    config, context = tiny_config(name, picture_folder, steps=STEPS), tiny_context(tmp_path)
    with few_updates(name):
        whole, data = set_up(config, context)
        resumed, _ = set_up(config, context, data)
        before = _weights_of(whole)
        list(play(whole, STEPS // 2))
        _assert_moved(whole, before)
        packed = pack(whole.state())
        list(play(whole, STEPS))
        resumed.restore(unpack(packed, context.device))
        list(play(resumed, STEPS))
    assert differences(whole.state(), resumed.state()) == []

    other, other_data = set_up(tiny_config(EXPORTED_AS[name], picture_folder, steps=STEPS), context)
    assert repr(sampler_of(whole, data)) == repr(sampler_of(other, other_data))
    card, other_card = card_of(whole, data), card_of(other, other_data)
    assert (card.latents, card.output, card.classes) == (other_card.latents, other_card.output, other_card.classes)
    assert card.recipe == name


def _copy_without_last_checkpoint(whole: Path, resumed: Path) -> None:
    """What a run directory holds when the job is killed late and its last checkpoint is damaged: records go further than it."""
    shutil.copytree(whole, resumed)
    max(resumed.glob("checkpoint-*.pt")).unlink()
    (resumed / MODEL).unlink(missing_ok=True)


def _assert_equal_runs(whole: Path, resumed: Path, steps: int) -> None:
    states: list[Any] = [load_newest(run, device=torch.device("cpu"))[0] for run in (whole, resumed)]
    assert states[0]["step"] == steps
    assert differences(*states) == []
    for file in ("stats.jsonl", "samples.webp", f"samples/step-{steps:06d}.png"):
        assert (whole / file).read_bytes() == (resumed / file).read_bytes(), file


def _assert_served(run: Path, name: str, steps: int) -> None:
    """The card is right; onnxruntime's samples are the net's, those of the graph as torch reads it, and the service's."""
    path = run / MODEL
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    card = card_from_metadata(session.get_modelmeta().custom_metadata_map)
    assert (card.recipe, card.steps, session.get_outputs()[0].name) == (name, steps, card.output.kind)
    game, data = open_run(tiny_context(run))
    inputs = sample_inputs(game, data, range(5))
    assert [i.name for i in session.get_inputs()] == list(inputs)

    computed = session.run(None, dict(inputs))[0]
    expected = sample_game(game, data, range(5))
    assert computed.dtype == expected.dtype
    tolerance = 1e-4 * (1 + np.abs(expected)) if isinstance(card.output, Points) else 1
    assert (np.abs(computed.astype(float) - expected.astype(float)) <= tolerance).all()

    if card.output.kind == "image":
        graph = DifferentiableGraph(onnx.load(path), torch.device("cpu"))
        levels = graph({key: torch.from_numpy(values) for key, values in inputs.items()}).detach()
        assert (np.abs(levels.round().clamp(0, 255).numpy() - computed) <= 1).all()

    client = create_app(Settings(models=(str(path),), workers=1)).flask.test_client()
    if game.recipe.needs_picture:
        sent = write_png(inputs["picture"][3], {})
        answer = client.post("/transform?seed=3&format=npy", data=sent, content_type="image/png")
    else:
        answer = client.get("/generate?seed=3&format=npy")
    assert answer.status_code == 200
    assert (np.load(io.BytesIO(answer.data)).reshape(computed[3].shape) == computed[3]).all()
