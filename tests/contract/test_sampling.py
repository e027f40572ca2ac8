"""The same seed gives the same latents: on every machine, in every batch, in every version."""

from __future__ import annotations

import hashlib
import json
import math
import struct
import threading
import tracemalloc
from collections.abc import Mapping
from pathlib import Path
from statistics import NormalDist
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contract import MAX_SEED, Categorical, DrawError, Latents, Normal, Uniform, digest_latents, draw, sampling
from contract.latents import NORMAL_LIMIT, words
from tests.contract import reference

LATENTS: Latents = {"z": Normal(5), "y": Categorical(10), "c": Uniform(2)}
GOLDEN = json.loads(Path(__file__).with_name("golden.json").read_text())

seeds = st.integers(0, MAX_SEED)
raw = st.one_of(
    st.integers(0, 2**64 - 1),
    st.builds(lambda word, shift: word >> shift, st.integers(0, 2**64 - 1), st.integers(0, 63)),
    st.builds(lambda word, shift: 2**64 - 1 - (word >> shift), st.integers(0, 2**64 - 1), st.integers(0, 63)),
)
givens = st.fixed_dictionaries({}, optional={"y": st.integers(0, 9), "c0": st.floats(-1, 1), "z3": st.floats(-8, 8)})


def expected(latents: Latents, seed: int) -> dict[str, Any]:
    """One row as the reference in plain Python has it."""
    stream = reference.stream(seed, sum(map(words, latents.values())))
    row: dict[str, Any] = {}
    for name, latent in latents.items():
        mine, stream = stream[: words(latent)], stream[words(latent) :]
        match latent:
            case Categorical(classes):
                row[name] = reference.categorical(mine[0], classes)
            case Uniform(_, low, high):
                row[name] = [reference.uniform(word, low, high) for word in mine]
            case Normal():
                row[name] = [reference.normal(word) for word in mine]
    return row


def row_of(drawn: Mapping[str, np.ndarray], row: int) -> dict[str, Any]:
    return {name: values[row].tolist() for name, values in drawn.items()}


@pytest.mark.parametrize("golden", GOLDEN, ids=lambda golden: golden["seed"])
def test_golden(golden: dict[str, Any]) -> None:
    """Sixteen seeds give the words and the latents that were written down when the contract was made."""
    seed = golden["seed"]
    assert [f"{word:016x}" for word in sampling.raw_words([seed], 8)[0].tolist()] == golden["words"]
    drawn = row_of(draw(LATENTS, [seed]), 0)
    assert {"z": [x.hex() for x in drawn["z"]], "y": drawn["y"], "c": [x.hex() for x in drawn["c"]]} == {
        name: golden[name] for name in LATENTS
    }


def test_golden_seeds_hold_the_corners_and_share_nothing() -> None:
    """0, 1 and both sides of 2**31 and 2**32 are among them, and no two give the same words: no sign, no overflow."""
    assert {0, 1, 2**31 - 1, 2**31, 2**32 - 1} <= {golden["seed"] for golden in GOLDEN}
    assert len({word for golden in GOLDEN for word in golden["words"]}) == 16 * 8


def test_ten_thousand_seeds_equal_the_reference() -> None:
    """Bit for bit, over all seeds' range."""
    many = [(i * 2654435761 + 12345) & MAX_SEED for i in range(10_000)]
    drawn = {name: values.tolist() for name, values in draw(LATENTS, many).items()}
    wrong = [seed for row, seed in enumerate(many) if {n: drawn[n][row] for n in LATENTS} != expected(LATENTS, seed)]
    assert wrong == []


latent = st.one_of(
    st.builds(Normal, st.integers(1, 40)),
    st.builds(Categorical, st.integers(1, 1_000_000)),
    st.builds(lambda size, low, span: Uniform(size, low, low + span), st.integers(1, 40), st.floats(-9, 9), st.floats(0.1, 9)),
)


@pytest.mark.slow
@given(latents=st.dictionaries(st.sampled_from("abcdez"), latent, min_size=1, max_size=4), seed=seeds)
def test_any_declaration_equals_the_reference(latents: Latents, seed: int) -> None:
    """Each declared latent, in declared order, takes its own words."""
    assert row_of(draw(latents, [seed]), 0) == expected(latents, seed)


@pytest.mark.slow
@settings(max_examples=1000)
@given(word=raw, classes=st.integers(1, 1_000_000))
def test_transforms_equal_the_reference(word: int, classes: int) -> None:
    """Any word, those of the far tails too, gives the reference's value, and one that the contract allows."""
    array = np.array([[word]], np.uint64)
    x, u, k = (
        sampling.normal(array).item(),
        sampling.uniform(array, -1.0, 1.0).item(),
        sampling.categorical(array, classes).item(),
    )
    assert (x, u, k) == (reference.normal(word), reference.uniform(word, -1.0, 1.0), reference.categorical(word, classes))
    assert abs(x) < NORMAL_LIMIT + 0.3
    assert -1.0 <= u <= 1.0
    assert 0 <= k < classes


def test_normal_is_the_inverse_distribution_function() -> None:
    """Over the whole range within a float32's rounding of the standard library's own, and odd about one half."""
    array = np.concatenate([np.random.Philox(key=1).random_raw(20_000) >> np.uint64(k) for k in (0, 4, 16, 40, 63)])
    ours = sampling.normal(array)
    theirs = np.array([NormalDist().inv_cdf(u) for u in sampling.unit(array).tolist()])
    np.testing.assert_allclose(ours, theirs, rtol=2e-7, atol=1e-7)
    np.testing.assert_array_equal(sampling.normal(~array), -ours)


def test_log_is_the_logarithm() -> None:
    """Within three units in the last place of the C library's, down to the smallest u."""
    x = np.concatenate([np.linspace(2.0**-53, 1.0, 50_001), 2.0 ** -np.arange(54)])
    theirs = np.array([math.log(value) for value in x])
    ours = sampling._log(x)
    assert np.all(np.abs(ours - theirs) <= 3 * np.spacing(np.abs(theirs)) + 1e-300)


def test_distributions() -> None:
    """What is drawn is normal, uniform and fair: Kolmogorov-Smirnov and chi-square over 100,000 values each."""
    drawn = draw({"z": Normal(50), "c": Uniform(50), "y": Categorical(10)}, range(2_000))
    z, c = (np.sort(drawn[name].astype(np.float64).ravel()) for name in "zc")
    grid = (np.arange(z.size) + 0.5) / z.size
    limit = 1.95 / math.sqrt(z.size)  # passed by chance once in a thousand
    assert np.abs(np.array([NormalDist().cdf(x) for x in z.tolist()]) - grid).max() < limit
    assert np.abs((c + 1) / 2 - grid).max() < limit
    moments = [float((z**k).mean()) for k in (1, 2, 3, 4)]
    np.testing.assert_allclose(moments, [0, 1, 0, 3], atol=0.05)
    counts = np.bincount(drawn["y"], minlength=10)
    assert ((counts - 200) ** 2 / 200).sum() < 27.9


@pytest.mark.parametrize("size", [1, 100, sampling.CHUNK_WORDS - 1, sampling.CHUNK_WORDS, 2 * sampling.CHUNK_WORDS + 5])
def test_large_draws_are_those_of_the_whole_stream(size: int) -> None:
    """Many rows and long ones are drawn from parts of the streams, and have every bit of a draw from all words at once."""
    many = range(1, 2 + 2 * sampling.CHUNK_WORDS // size) if size <= 100 else [7, MAX_SEED, 0]
    latents: Latents = {
        "c": Uniform(2, -3.0, 5.0),
        "y": Categorical(1000),
        "z": Normal(size),
        "x": Categorical(7),
        "u": Uniform(3),
    }
    drawn = draw(latents, many)
    raw = sampling.raw_words(many, size + 7)
    whole: dict[str, np.ndarray] = {
        "c": sampling.uniform(raw[:, :2], -3.0, 5.0),
        "y": sampling.categorical(raw[:, 2], 1000),
        "z": sampling.normal(raw[:, 3 : size + 3]),
        "x": sampling.categorical(raw[:, size + 3], 7),
        "u": sampling.uniform(raw[:, size + 4 :], -1.0, 1.0),
    }
    assert {name: (values.dtype, values.shape, values.tobytes()) for name, values in drawn.items()} == {
        name: (values.dtype, values.shape, values.tobytes()) for name, values in whole.items()
    }


@pytest.mark.parametrize(("size", "rows"), [(2_000_000, 3), (1000, 6000)])
def test_a_draw_takes_little_more_memory_than_its_result(size: int, rows: int) -> None:
    """However long a row is and however many there are, the intermediate results take some MiB."""
    draw({"z": Normal(1)}, [0])
    tracemalloc.start()
    try:
        drawn = draw({"z": Normal(size)}, range(rows))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak - drawn["z"].nbytes < 4 * 2**20


def test_kinds_and_shapes() -> None:
    """Rows by seed: float32 [n, size], and int64 [n] for a categorical latent; no seeds give no rows."""
    for n in (0, 1, 3):
        shapes = {name: (values.dtype.name, values.shape) for name, values in draw(LATENTS, range(n)).items()}
        assert shapes == {"z": ("float32", (n, 5)), "y": ("int64", (n,)), "c": ("float32", (n, 2))}


@given(batch=st.lists(st.tuples(seeds, givens), min_size=1, max_size=20))
def test_a_row_depends_on_its_seed_alone(batch: list[tuple[int, dict[str, float]]]) -> None:
    """In any batch, at any position, asked twice, with or without neighbours' given values."""
    together = draw(LATENTS, [seed for seed, _ in batch], [given for _, given in batch])
    for row, (seed, given_) in enumerate(batch):
        assert row_of(together, row) == row_of(draw(LATENTS, [seed], [given_]), 0)


@given(seed=seeds, values=givens)
def test_given_moves_nothing_else(seed: int, values: dict[str, float]) -> None:
    """A given value stands where it was asked for, and every other component is what the seed gives."""
    plain, fixed = row_of(draw(LATENTS, [seed]), 0), row_of(draw(LATENTS, [seed], [values]), 0)
    if "y" in values:
        plain["y"] = values["y"]
    if "c0" in values:
        plain["c"][0] = reference.float32(values["c0"])
    if "z3" in values:
        plain["z"][3] = reference.float32(values["z3"])
    assert fixed == plain


@pytest.mark.parametrize("seed", [-1, 2**32, 2**64, -(2**70), 1.5, math.nan, math.inf])
def test_seeds_out_of_range_are_refused(seed: Any) -> None:
    """The message holds the range and the value."""
    for latents in (LATENTS, {"z": Normal(sampling.CHUNK_WORDS + 1)}):
        with pytest.raises(DrawError, match=r"seed must be 0..4294967295, got "):
            draw(latents, [0, seed])


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("y", -1, "y must be 0..9, got -1"),
        ("y", 10, "y must be 0..9, got 10"),
        ("y", 3.5, "y must be 0..9, got 3.5"),
        ("c0", 1.01, "c0 must be -1..1, got 1.01"),
        ("c1", math.nan, "c1 must be -1..1, got nan"),
        ("z0", math.inf, "z0 must be -8..8, got inf"),
        ("c", 0.0, "no parameter 'c'; declared are z0, z1, z2, z3, z4, y, c0, c1"),
        ("c2", 0.0, "no parameter 'c2'; declared are "),
    ],
)
def test_given_values_out_of_range_are_refused(name: str, value: float, message: str) -> None:
    """The message names the parameter, its range and the value."""
    with pytest.raises(DrawError, match=message.replace(".", r"\.")):
        draw(LATENTS, [1, 2], [{}, {name: value}])


def test_given_is_for_all_rows_or_none() -> None:
    """Given values for fewer or more rows than there are seeds are a mistake, never dropped in silence."""
    for count in (1, 3):
        with pytest.raises(DrawError, match=f"overrides must have 2 rows, got {count}"):
            draw(LATENTS, [1, 2], [{"y": 1}] * count)


def test_global_random_state_is_neither_used_nor_moved() -> None:
    """Seeding NumPy's global generator changes no draw, and a draw moves it nowhere."""
    rows = []
    for seed in (1, 2):
        np.random.seed(seed)
        before = np.random.get_state(legacy=False)
        rows.append(row_of(draw(LATENTS, [42]), 0))
        np.testing.assert_equal(np.random.get_state(legacy=False), before)
    assert rows[0] == rows[1]


def test_threads_do_not_disturb_each_other() -> None:
    """Eight threads that draw at once draw what one draws alone."""
    alone = [digest_latents(draw(LATENTS, [seed]), 0) for seed in range(400)]
    found: dict[int, list[str]] = {}
    start = threading.Barrier(8)

    def run(number: int) -> None:
        start.wait()
        found[number] = [digest_latents(draw(LATENTS, [seed]), 0) for seed in range(400)]

    threads = [threading.Thread(target=run, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [found[number] for number in range(8)] == [alone] * 8


def test_digest_tells_rows_apart() -> None:
    """The digest of the latents is the same alone and in a batch, and another for another seed or a given value."""
    drawn = draw(LATENTS, [1, 2, 1], [{}, {}, {"y": 9}])
    digests = [digest_latents(drawn, row) for row in range(3)]
    assert len(set(digests)) == 3
    assert digest_latents(draw(LATENTS, [2]), 0) == digests[1]
    row = expected(LATENTS, 1)
    assert digests[0] == hashlib.sha256(struct.pack("<5fq2f", *row["z"], row["y"], *row["c"])).hexdigest()
