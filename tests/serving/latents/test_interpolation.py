"""The laws of the way between two seeds: exact ends, rows that depend on their place alone, and the sphere."""

from __future__ import annotations

import hashlib
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from contract import MAX_SEED, Categorical, DrawError, Latents, Normal, Uniform, digest_latents, draw
from serving.latents.interpolation import Interpolation, angle_between, between, draw_sources, frame_positions, sine

LATENTS: Latents = {"z": Normal(100), "y": Categorical(10), "c": Uniform(2), "x": Normal(1), "w": Normal(3)}
SEEDS = st.integers(0, MAX_SEED)
PLACES = st.floats(0, 1)
VALUES = st.fixed_dictionaries({}, optional={"y": st.integers(0, 9), "c0": st.floats(-1, 1, width=32), "w1": st.just(0.5)})

COMPONENTS: dict[str, tuple[str, tuple[int, ...]]] = {"y": ("y", (0,)), "c0": ("c", (0, 0)), "w1": ("w", (0, 1))}


def same(one: Any, other: Any) -> bool:
    return list(one) == list(other) and all(one[name].tobytes() == other[name].tobytes() for name in one)


@pytest.mark.slow
@given(a=SEEDS, b=SEEDS, values=VALUES)
def test_the_ends_are_what_their_seeds_draw(a: int, b: int, values: dict[str, float]) -> None:
    """At 0 and at 1 every latent is bit-equal to that of ``draw``, given values included."""
    assert same(between(LATENTS, a, b, [0], values), draw(LATENTS, [a], [values]))
    assert same(between(LATENTS, a, b, [1], values), draw(LATENTS, [b], [values]))


@pytest.mark.slow
@given(a=SEEDS, b=SEEDS, places=st.lists(PLACES, min_size=1, max_size=6), values=VALUES)
def test_a_row_depends_on_its_place_alone(a: int, b: int, places: list[float], values: dict[str, float]) -> None:
    """Each of many rows is bit-equal to the row that is made alone."""
    rows = between(LATENTS, a, b, places, values)
    for row, place in enumerate(places):
        assert same({name: value[row : row + 1] for name, value in rows.items()}, between(LATENTS, a, b, [place], values))


@given(seed=SEEDS, t=PLACES)
def test_the_way_from_a_seed_to_itself_stands_still(seed: int, t: float) -> None:
    """Between equal seeds every row is the seed's own, bit for bit."""
    assert same(between(LATENTS, seed, seed, [t]), draw(LATENTS, [seed]))


@pytest.mark.slow
@given(a=SEEDS, b=SEEDS, t=PLACES, values=VALUES)
def test_a_given_value_holds_all_the_way_and_moves_nothing_else(a: int, b: int, t: float, values: dict[str, float]) -> None:
    """A row with given values is the row without them, but for those components."""
    free, held = between(LATENTS, a, b, [t]), between(LATENTS, a, b, [t], values)
    expected = draw(LATENTS, [a], [values])
    for name, (latent, place) in COMPONENTS.items():
        if name in values:
            assert held[latent][place] == expected[latent][place]
            held[latent][place] = free[latent][place]
    assert same(held, free)


SOURCES = SEEDS | st.builds(Interpolation, st.integers(0, 3), st.integers(0, 3), st.sampled_from([0.0, 0.25, 1.0]))


@pytest.mark.slow
@given(rows=st.lists(st.tuples(SOURCES, VALUES), min_size=1, max_size=9))
def test_seeds_and_places_share_a_batch(rows: list[tuple[int | Interpolation, dict[str, float]]]) -> None:
    """In any batch a seed's row is that of ``draw`` and an interpolation's that of ``between``, each with its own overrides."""
    found = draw_sources(LATENTS, [source for source, _ in rows], [values for _, values in rows])
    for row, (source, values) in enumerate(rows):
        if isinstance(source, Interpolation):
            alone = between(LATENTS, source.a, source.b, [source.t], values)
        else:
            alone = draw(LATENTS, [source], [values])
        assert same({name: value[row : row + 1] for name, value in found.items()}, alone)


def test_a_class_changes_half_way() -> None:
    """Up to half of the way the first seed's class, from there on the second's."""
    first, second = draw(LATENTS, [1, 2])["y"]
    assert first != second
    places = [0, 0.25, 0.4999, 0.5, 0.75, 1]
    assert between(LATENTS, 1, 2, places)["y"].tolist() == [first] * 3 + [second] * 3


def test_a_normal_latent_stays_on_the_sphere() -> None:
    """Half way between seeds the length lies between those of the ends, where the straight line loses three tenths."""
    z = draw(LATENTS, range(40))["z"].astype(np.float64)
    for a in range(0, 40, 2):
        ends = np.linalg.norm(z[a : a + 2], axis=1)
        assert 0.9 * ends.min() < np.linalg.norm(between(LATENTS, a, a + 1, [0.5])["z"]) < 1.1 * ends.max()
        assert np.linalg.norm(z[a : a + 2].mean(0)) < 0.85 * ends.max()


def test_a_normal_latent_goes_by_the_formula() -> None:
    """Rows are those of Shoemake's slerp, computed with the library's sine and arccosine, but for the last bits."""
    a, b = draw(LATENTS, [5, 6])["z"].astype(np.float64)
    angle = np.arccos(a @ b / np.linalg.norm(a) / np.linalg.norm(b))
    for t in (0.1, 1 / 3, 0.5, 0.9):
        right = (np.sin((1 - t) * angle) * a + np.sin(t * angle) * b) / np.sin(angle)
        assert between(LATENTS, 5, 6, [t])["z"][0] == pytest.approx(right, rel=1e-6, abs=1e-7)


@given(a=SEEDS, b=SEEDS, t=PLACES)
def test_uniform_and_single_components_go_straight(a: int, b: int, t: float) -> None:
    """A uniform latent, and a normal one of one component, lie t of the way between the ends and never outside them."""
    ends, row = draw(LATENTS, [a, b]), between(LATENTS, a, b, [t])
    for name in ("c", "x"):
        assert (ends[name].min(0) <= row[name]).all()
        assert (row[name] <= ends[name].max(0)).all()
        assert row[name] == pytest.approx((1 - t) * ends[name][:1] + t * ends[name][1:], rel=1e-6, abs=1e-6)


@given(x=st.floats(0, math.pi))
def test_the_sine_is_the_sine(x: float) -> None:
    """Our series gives the sine of 0..pi within some units of the last place of 1."""
    assert abs(sine(x) - math.sin(x)) < 5e-16


@given(angle=st.floats(1e-7, math.pi - 1e-7), size=st.floats(1e-3, 1e3))
def test_the_angle_is_the_angle(angle: float, size: float) -> None:
    """The angle of two vectors is exact to 15 digits for any lengths, nearly parallel and nearly opposite ones too."""
    found = angle_between(np.array([size, 0.0]), np.array([math.cos(angle), math.sin(angle)]))
    assert found == pytest.approx(angle, rel=1e-15, abs=1e-15)


def test_opposite_ends_are_joined_by_a_straight_line() -> None:
    """Where no great circle is better than another, nothing is divided by zero."""
    assert angle_between(np.array([1.0, 2.0]), np.array([-2.0, -4.0])) == pytest.approx(math.pi)
    assert angle_between(np.zeros(2), np.ones(2)) == 0.0
    single: Latents = {"x": Normal(1)}
    rows = between(single, 1, 5, frame_positions(5))["x"]
    assert draw(single, [1, 5])["x"].prod() < 0
    assert np.diff(rows[:, 0]) == pytest.approx(np.diff(rows[:, 0])[0])


def test_frames_are_evenly_apart() -> None:
    """Five frames are at 0, 1/4, 1/2, 3/4 and 1; one frame alone is refused."""
    assert frame_positions(5) == [0, 0.25, 0.5, 0.75, 1]
    with pytest.raises(DrawError, match="frames must be 2 or more, got 1"):
        frame_positions(1)


@pytest.mark.parametrize("t", [-0.1, 1.0000001, math.nan, math.inf])
def test_a_place_off_the_way_is_refused(t: float) -> None:
    """A place that is not 0..1 is named."""
    with pytest.raises(DrawError, match=r"t must be 0\.\.1, got"):
        between(LATENTS, 1, 2, [t])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"b": 2**32}, r"seed must be 0\.\.4294967295"),
        ({"overrides": {"y": 10}}, r"y must be 0\.\.9, got 10"),
        ({"overrides": {"q": 1}}, "no parameter 'q'"),
    ],
)
def test_wrong_ends_are_refused(change: dict[str, Any], message: str) -> None:
    """A seed or a given value out of range, and an unknown parameter are named."""
    with pytest.raises(DrawError, match=message):
        between(LATENTS, **{"a": 1, "b": 2, "positions": [0, 1], **change})


def test_golden_walk() -> None:
    """The latents of a walk are those that were computed once: no library and no processor changes a bit."""
    rows = between(LATENTS, 42, 4294967295, frame_positions(9), {"c1": -0.25})
    digests = "".join(digest_latents(rows, row) for row in range(9))
    assert hashlib.sha256(digests.encode()).hexdigest() == "2960915ffe154bd579ab7ba1f8da754a75b76b74bd743b71b2ccb013ccf3759a"
