from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageColor

from training.report import curves
from training.report.curves import collect, draw_accuracy_curve, draw_learning_curve, smooth
from training.report.pictures import PALETTE, png_bytes


def rows_of(count: int, **named: float) -> list[dict[str, Any]]:
    """Rows with the given scalars, ``D_loss=1`` for ``D/loss``, on a wave so that the lines are apart."""
    scalars = {name.replace("_", "/"): value for name, value in named.items()}
    return [
        {"step": step, "images": 64 * step, **{name: value + 0.05 * np.sin(step / 5) for name, value in scalars.items()}}
        for step in range(1, count + 1)
    ]


def is_colour(picture: Image.Image, colour: str) -> np.ndarray:
    """Where the picture [h,w] has the colour."""
    wanted = np.array(ImageColor.getrgb(colour))
    claim: np.ndarray = np.abs(np.asarray(picture).astype(int) - wanted).max(-1) <= 3
    return claim


def has_colour(picture: Image.Image, colour: str) -> bool:
    return int(is_colour(picture, colour).sum()) > 20


@pytest.mark.parametrize("count", [1, 2, 9, 100, 5000])
def test_curves_are_drawn_for_any_length(count: int) -> None:
    """One row, two rows and thousands of rows give pictures of the same size with every line in them."""
    rows = rows_of(count, D_loss=0.7, G_loss=1.2, accuracy_real=0.7, accuracy_fake=0.6)
    for picture in (draw_learning_curve(rows), draw_accuracy_curve(rows)):
        assert picture is not None
        assert picture.size == (curves.WIDTH_PX, curves.HEIGHT_PX)
        assert has_colour(picture, PALETTE[0])
        assert has_colour(picture, PALETTE[1])


@pytest.mark.parametrize("value", [0.7, -0.00123, 98765.4, 3e-7])
@pytest.mark.parametrize("terms", [0, 1, 8])
def test_nothing_is_cut_at_the_edges(value: float, terms: int) -> None:
    """The outermost pixels are white for all numbers on the axes and for many names, too."""
    named = {f"G_term{number}": value / (number + 1) for number in range(terms)}
    rows = [row | {"step": 20_000 * row["step"]} for row in rows_of(50, D_loss=value, G_loss=2 * value, **named)]
    picture = draw_learning_curve(rows)
    assert picture is not None
    pixels = np.asarray(picture)
    assert all((edge == 255).all() for edge in (pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]))


def test_every_player_has_a_line() -> None:
    """The players are those of the data, as many as there are."""
    picture = draw_learning_curve(rows_of(50, D_loss=1, G_loss=2, E_loss=3, Q_loss=4))
    assert picture is not None
    assert all(has_colour(picture, colour) for colour in PALETTE[:4])


def test_more_players_than_colours_are_drawn() -> None:
    """Colours repeat when there are more lines than colours."""
    assert draw_learning_curve(rows_of(5, **{f"P{number}_loss": number for number in range(9)})) is not None


@pytest.mark.slow
def test_terms_are_drawn_beside_the_losses() -> None:
    """A term of a loss changes the picture, but not one that is the whole loss under another name."""
    plain = draw_learning_curve(rows_of(50, D_loss=1))
    whole = draw_learning_curve(rows_of(50, D_loss=1, D_logistic=1))
    parted = draw_learning_curve(rows_of(50, D_loss=1, D_r1=0.1))
    assert plain is not None
    assert whole is not None
    assert parted is not None
    assert png_bytes(plain) == png_bytes(whole)
    assert png_bytes(plain) != png_bytes(parted)


def test_terms_of_very_different_size_are_both_seen() -> None:
    """A small penalty with a large loss is no flat line: both lines span some of the panel's height."""
    steps = range(1, 200)
    rows = [{"step": s, "images": s, "D/loss": 9.0, "D/ns": 9.0 - s / 100, "D/r1": 0.001 * s} for s in steps]
    picture = draw_learning_curve(rows)
    assert picture is not None
    heights = np.nonzero(is_colour(picture, PALETTE[2])[540:].any(1))[0]
    assert heights.max() - heights.min() > 30


@pytest.mark.parametrize("draw", [draw_learning_curve, draw_accuracy_curve])
def test_nothing_logged_is_no_picture(draw: Any) -> None:
    """No rows, and rows without such a scalar, give no picture."""
    assert draw([]) is None
    assert draw([{"step": 1, "images": 64, "alarm/entropy": 2.3}]) is None


def test_the_equilibrium_is_marked() -> None:
    """The accuracy curve has a dashed dark line half way up."""
    picture = draw_accuracy_curve(rows_of(10, accuracy_real=0.9))
    assert picture is not None
    dark = (np.asarray(picture).max(-1) < 100).sum(1)
    height = int(dark.argmax())
    assert 0.35 < height / picture.height < 0.6
    assert dark[height] > picture.width * 0.4


def test_missing_values_are_left_out() -> None:
    """A scalar that is null, or logged now and then, keeps the steps at which it has a value."""
    series = collect([{"step": 1, "images": 1, "a": None}, {"step": 2, "images": 2, "a": 5.0}, {"step": 3, "images": 3}])
    assert series["a"].steps.tolist() == [2.0]
    assert series["a"].values.tolist() == [5.0]


@pytest.mark.parametrize("width", [0, 1, 7])
def test_smoothing_leaves_a_constant_and_calms_a_noise(width: int) -> None:
    """A constant stays itself up to both ends, and noise never grows."""
    noise = np.random.default_rng(0).normal(0, 1, 50)
    np.testing.assert_allclose(smooth(np.full(9, 3.0), width), 3.0)
    assert smooth(noise, width).std() <= noise.std() + 1e-12
    assert len(smooth(noise, width)) == 50


def test_extreme_values_do_not_press_the_lines_flat() -> None:
    """A line next to one with a few outliers still spans much of the panel's height."""
    rows = rows_of(1000, D_loss=0.7)
    for row in rows[500:503]:
        row["D/loss"] = 1e6
    picture = draw_learning_curve(rows)
    assert picture is not None
    heights = np.nonzero(is_colour(picture, PALETTE[0])[60:].any(1))[0]
    assert heights.max() - heights.min() > 0.2 * picture.height
