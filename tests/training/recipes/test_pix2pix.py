"""pix2pix: edges in, digits out, dropout decided by a latent, and how its runs are examined."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from contract.pictures import PICTURE
from tests.training.conftest import tiny_config, tiny_context, train_tiny
from training.__main__ import main
from training.errors import RecipeError
from training.game.check import check_parts
from training.metrics.images import laplacian_energy
from training.nets.translation import PatchDiscriminator, UNet, dropout_size
from training.recipes import CATALOGUE
from training.recipes.pix2pix import edges
from training.run.job import set_up


def test_edges_are_the_outline_of_what_is_bright() -> None:
    """A filled square gives its border alone, 1 on -1; a line one pixel wide is its own outline."""
    x = torch.full((1, 1, 8, 8), -1.0)
    x[0, 0, 2:6, 2:6] = 1
    outline = edges(x)[0, 0]
    assert outline.unique().tolist() == [-1, 1]
    assert (outline == 1).sum() == 12
    assert (outline[3:5, 3:5] == -1).all()
    line = torch.full((1, 1, 8, 8), -1.0)
    line[..., 3] = 0.5
    assert torch.equal(edges(line) > 0, line > 0)


@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 32, 32), (1, 8, 12)])
def test_the_u_net_keeps_the_shape(shape: tuple[int, ...]) -> None:
    """Odd and even innermost sides come back to the picture's size; D has a logit for each patch."""
    net = UNet(shape, width=4)
    z = torch.rand(2, dropout_size(shape, width=4))
    made = net(z, torch.zeros(2, *shape))
    assert made.shape == (2, *shape)
    output = PatchDiscriminator(shape[0], width=4)(made, torch.zeros(2, *shape))
    assert output.logit.shape == (2, (shape[1] // 4) * (shape[2] // 4))


def test_the_noise_alone_decides_the_dropout() -> None:
    """The same noise gives the same image, in training and in evaluation; other noise gives another one."""
    torch.manual_seed(0)
    net = UNet((1, 28, 28), width=4)
    z, picture = torch.rand(2, dropout_size((1, 28, 28), width=4)), torch.randn(1, 1, 28, 28).expand(2, -1, -1, -1)
    made = net.train()(z, picture)
    assert torch.equal(made, net.eval()(z, picture))
    assert not torch.equal(made[0], made[1])


def test_d_sees_the_picture_and_the_losses_are_the_authors(picture_folder: Path, tmp_path: Path) -> None:
    """D's loss is halved, G's adds 100 L1; the twin has L1 alone and no D."""
    gan, twin = CATALOGUE["pix2pix_small"], CATALOGUE["pix2pix_l1_small"]
    assert {p.name: str(p.loss) for p in gan.players} == {"D": "0.5 d_nonsaturating", "G": "g_nonsaturating + 100 l1"}
    assert [str(p.loss) for p in twin.players] == ["100 l1"]
    assert gan.conditions == (PICTURE,)
    assert not gan.is_conditional  # it needs no labels


def test_a_condition_on_a_picture_needs_one(picture_folder: Path, tmp_path: Path) -> None:
    """A recipe that shows D a picture but makes none is refused by name."""
    recipe = replace(CATALOGUE["pix2pix_small"], picture=None)
    game, _ = set_up(tiny_config("pix2pix_small", picture_folder, steps=1), tiny_context(tmp_path))
    with pytest.raises(RecipeError, match=r"conditions must be names of G's inputs \(z\), got picture"):
        check_parts(recipe, game.nets, game.latents)


def test_a_checker_board_has_more_laplacian_energy_than_its_blur() -> None:
    """The measure of sharpness falls where edges are smoothed, and is 0 for a flat image."""
    board = (torch.arange(16)[:, None] // 2 + torch.arange(16)[None] // 2).remainder(2).float()[None, None]
    blurred = torch.nn.functional.avg_pool2d(board, 3, 1, 1)
    assert laplacian_energy(board) > 2 * laplacian_energy(blurred) > 0
    assert laplacian_energy(torch.ones(1, 1, 8, 8)) == 0


@pytest.mark.slow
def test_score_of_a_run_examines_what_becomes_of_unseen_pictures(
    picture_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """``score`` of such a run measures all changed test images, and says so where another number is asked for."""
    config = tiny_config("pix2pix_l1_small", picture_folder, steps=2)
    train_tiny(config, tmp_path, is_exported=False)
    monkeypatch.setenv("XDG_CACHE_HOME", tiny_context(tmp_path).environ["XDG_CACHE_HOME"])
    assert main(["score", str(tmp_path)]) == 0
    assert "--samples" not in capsys.readouterr().out
    assert main(["score", str(tmp_path), "--samples", "3"]) == 0
    content = json.loads((tmp_path / "examination.json").read_text())
    count = content["samples"]  # all of MNIST's test part where that is on this machine
    assert count > 3
    assert f"--samples 3 changes nothing: all {count:,} " in capsys.readouterr().out
    values = content["values"]
    assert content["classifier"].startswith("lenet@")
    assert values.keys() == {"sharpness", "l1", "accuracy", "accuracy-real"}
    assert values["accuracy-real"] > 0.9


@pytest.mark.slow
def test_measures_of_samples_are_refused_for_a_run_that_changes_pictures(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """One sentence each: what is for latents alone, and options of ``score`` that would change nothing."""
    train_tiny(tiny_config("pix2pix_small", tmp_path, steps=1), tmp_path / "run", is_exported=False)
    run = str(tmp_path / "run")
    other = str(shutil.copytree(tmp_path / "run", tmp_path / "other"))
    for words, sentence in (
        (["gmam", other, run], "pix2pix_small takes a picture, too"),
        (["reconstruct", run], "pix2pix_small takes a picture, too"),
        (["score", run, "--classifier", "digits"], "--classifier is for models that make samples; pix2pix_small changes"),
        (["score", run, "--data", "digits"], "--data is for models that make samples"),
        (["score", run, "--samples", "1"], "samples must be at least 2, got 1"),
    ):
        assert main(words) == 2
        assert f"error: {sentence}" in capsys.readouterr().err
