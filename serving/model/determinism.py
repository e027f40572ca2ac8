"""Checks at each load of a model that a seed gives the same bytes alone and in any batch, and that its goldens match."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np

from contract import Array, Card, Device, Golden, Image, Inputs, Points, Tokens, digest_latents, probe_inputs
from contract.runtime import PROBE_SEEDS as PROBE_SEEDS
from serving.errors import ModelError, Nondeterministic, NonFinite, cut
from serving.model.runtime import Session

PROBE_SIZES = (2, 3, 4, 5, 7, 8, 9, 16, 17, 31, 32, 33, 63, 64)
POINT_TOLERANCE = 1e-4
"""Allowed difference from a golden on another processor: of the plotted region's size, and of the value."""

ALLOWED = {Image.kind: "1 grey level", Points.kind: f"{POINT_TOLERANCE:g} of the region and of the value", Tokens.kind: "none"}


@dataclass(frozen=True)
class BatchingMode:
    """How rows are batched: at any size, at least two, padded to one fixed size, or (``rows=1``) one by one."""

    rows: int | None = None
    """The only batch size; None means any."""
    most: int | None = None
    """Where any size is allowed, rows of one run at most: a larger batch is several runs."""
    least: int = 1
    """Where any size is allowed, rows of one run at least: one row is run as two where a kernel for one rounds otherwise."""

    def run(self, session: Session, inputs: Inputs) -> Array:
        """The outputs of a graph's inputs, one row each."""
        count = len(next(iter(inputs.values())))
        if self.rows is None:
            if self.most is None or count <= self.most:
                return _run_padded(session, inputs, self.least)
            starts = range(0, count, self.most)
            return np.concatenate([_run_padded(session, _part(inputs, start, self.most), self.least) for start in starts])
        starts = range(0, count, self.rows)
        return np.concatenate([_run_padded(session, _part(inputs, start, self.rows), self.rows) for start in starts])

    @property
    def name(self) -> str:
        """``any``, ``paired``, ``padded`` or ``single``."""
        return {None: "any" if self.least == 1 else "paired", 1: "single"}.get(self.rows, "padded")

    def for_idle_cores(self) -> BatchingMode:
        """The mode of the session for idle cores: runs of a quarter of the rows, whose memory that session keeps, too."""
        return self if self.most is None else replace(self, most=max(1, self.most // 4))

    def probe_sizes(self, max_batch: int) -> list[int]:
        """Sizes of the batches that are probed: any larger one is several runs of these."""
        largest = max_batch if self.most is None else min(max_batch, 2 * self.most)
        return sorted({size for size in PROBE_SIZES if size <= largest} | {1, largest})

    def halved(self, count: int) -> BatchingMode | None:
        """The mode of runs of half the rows, for a batch of ``count``; None where the number of rows is fixed, or 1."""
        rows = min(count, self.most or count) // 2
        return None if self.rows is not None or rows == 0 else replace(self, most=rows)

    def padding(self, count: int) -> int:
        """The number of padding rows for ``count`` requested ones."""
        last = count if self.most is None else (count - 1) % self.most + 1
        return max(0, self.least - last) if self.rows is None else -count % self.rows


def _part(inputs: Inputs, start: int, rows: int) -> Inputs:
    return {name: values[start : start + rows] for name, values in inputs.items()}


def _run_padded(session: Session, inputs: Inputs, least: int) -> Array:
    """The rows of inputs that are repeated, where they are fewer than ``least``."""
    count = len(next(iter(inputs.values())))
    if count >= least:
        return _run(session, inputs)
    return _run(session, {name: np.resize(values, (least, *values.shape[1:])) for name, values in inputs.items()})[:count]


def _run(session: Session, inputs: object) -> Array:
    rows, *guard = session.run(None, inputs)
    if guard and not np.isfinite(guard[0]).all():
        raise NonFinite
    output: Array = rows
    return output


@dataclass(frozen=True)
class Unrounded:
    """A session whose last output, the floats before they are rounded, is the only one that is asked for."""

    session: Session

    def run(self, output_names: list[str] | None, input_feed: Any, /) -> Any:
        """The floats."""
        return self.session.run([self.session.get_outputs()[-1].name], input_feed)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.session, name)


def find_batching_mode(
    session: Session,
    card: Card,
    max_batch: int,
    provider: Device = "cpu",
    most: int | None = None,
    unrounded: Session | None = None,
) -> BatchingMode:
    """The first batching mode in which no row depends on its neighbours.

    On CUDA batches have one size from the start: another size is another kernel, whose sums differ in their last bits (H100: 12
    of 4,160 rows had another grey level), which the few probe seeds need not show.

    Args:
        session: of the model.
        card: of the model.
        max_batch: rows of the largest batch.
        provider: device of the session.
        most: rows of one run at most, where any size is allowed; None for no limit.
        unrounded: session of the floats that the output is rounded from. Where a float differs in its last bit, a pixel differs
            in one of some hundred seeds, which the few probe seeds need not show.

    Raises:
        Nondeterministic: no mode does.
        ModelError: an output has a wrong shape or is not finite.
    """
    modes = [BatchingMode(max_batch), BatchingMode(1)]
    if provider == "cpu":
        modes = [BatchingMode(most=most), BatchingMode(most=most and max(2, most), least=2), *modes]
    for batching in modes:
        alone, sizes = _one_by_one(session, batching, card), batching.probe_sizes(max_batch)
        check_output(alone, card, len(PROBE_SEEDS))
        if unrounded is not None:
            if not is_deterministic(unrounded, _one_by_one(unrounded, batching, card), batching, card, sizes):
                continue
            sizes = sizes[-1:]  # equal floats are rounded alike
        if is_deterministic(session, alone, batching, card, sizes):
            return batching
    raise Nondeterministic("the same seed gives different outputs, even when run one by one")


def is_deterministic(session: Session, alone: Array, batching: BatchingMode, card: Card, sizes: Sequence[int]) -> bool:
    """Whether rows that were run alone are bit-equal at two positions of batches of these sizes."""
    return all(_is_same_in_batch(session, batching, card, alone, size, shift) for size in sizes for shift in (0, 3))


def _one_by_one(session: Session, batching: BatchingMode, card: Card) -> Array:
    return np.concatenate([batching.run(session, probe_inputs(card.latents, card.picture, [seed])) for seed in PROBE_SEEDS])


def _is_same_in_batch(session: Session, batching: BatchingMode, card: Card, alone: Array, size: int, shift: int) -> bool:
    indices = [(row + shift) % len(PROBE_SEEDS) for row in range(size)]
    rows = batching.run(session, probe_inputs(card.latents, card.picture, [PROBE_SEEDS[index] for index in indices]))
    return rows.tobytes() == alone[indices].tobytes()


def agrees(session: Session, other: Session, batching: BatchingMode, card: Card, max_batch: int) -> bool:
    """Whether the session for idle cores gives the bytes of the first, alone and in batches of many sizes, goldens included."""
    alone = _one_by_one(session, batching, card)
    goldens = [probe_inputs(card.latents, card.picture, [golden.seed]) for golden in card.goldens]
    mode = batching.for_idle_cores()
    return all(_is_same_in_batch(other, mode, card, alone, size, 0) for size in mode.probe_sizes(max_batch)) and all(
        batching.run(session, inputs).tobytes() == mode.run(other, inputs).tobytes() for inputs in goldens
    )


def check_output(rows: Array, card: Card, count: int) -> None:
    """Check that an output has the card's type and shape and is finite.

    Raises:
        ModelError: it does not; the message has both.
    """
    expected = (count, *card.output.shape)
    if rows.dtype != card.output.dtype or rows.shape != expected:
        raise ModelError(
            f"output must be {card.output.dtype} {list(expected)} by the card, got {rows.dtype} {list(rows.shape)}"
        )
    if not np.isfinite(rows).all():
        raise ModelError("the output holds NaN or infinity")
    if isinstance(card.output, Tokens) and (rows.min() < 0 or rows.max() >= card.output.vocabulary):
        raise ModelError(f"tokens must be 0 to {card.output.vocabulary - 1} by the card, got {rows.min()} to {rows.max()}")


def check_varied(probes: Array, card: Card) -> None:
    """Check that not all probe seeds have the same output.

    Raises:
        ModelError: they have: the generator has collapsed, or its latents are not connected.
    """
    if (probes == probes[:1]).all():
        raise ModelError(f"the model gives one {card.output.kind} for all of {len(probes)} seeds")


def probe_outputs(session: Session, batching: BatchingMode, card: Card) -> Array:
    """Outputs of a few fixed seeds; they differ between machines that round differently."""
    return batching.run(session, probe_inputs(card.latents, card.picture, PROBE_SEEDS))


@dataclass(frozen=True, kw_only=True)
class GoldenReport:
    """How the goldens of a card compare here, by what may have changed since the export."""

    latents: Literal["exact", "none"]
    """Drawn by NumPy: different latents are refused; ``none`` if the card has no goldens."""
    pixels: Literal["exact", "close", "none"]
    """Computed by onnxruntime: ``close`` is another rounding; a greater difference is refused."""
    rows: Sequence[Array] = field(default=(), repr=False, compare=False)
    """The outputs of the golden seeds as computed here, in the card's order."""


def compare_goldens(session: Session, batching: BatchingMode, card: Card, runtime: str) -> GoldenReport:
    """Compare the latents and outputs computed here with the exporter's.

    Another processor may round differently, so one grey level (or 1e-4 of a point) is allowed; tokens must be equal.

    Raises:
        ModelError: the latents differ, or the output differs by more than allowed; the message names which.
    """
    rows = [batching.run(session, _golden_inputs(golden, card))[0] for golden in card.goldens]
    for golden, row in zip(card.goldens, rows, strict=True):
        if not _is_close(row, golden, card):
            difference = np.abs(row.astype(float) - golden.output).max()
            raise ModelError(
                f"golden seed {golden.seed}: the latents are right, but {runtime} gives another output than "
                f"{cut(card.runtime)} gave the exporter, or the weights are damaged; greatest difference {difference:g}, "
                f"allowed is {ALLOWED[card.output.kind]}"
            )
    is_exact = all(row.tobytes() == golden.output.tobytes() for golden, row in zip(card.goldens, rows, strict=True))
    return GoldenReport(
        latents="exact" if card.goldens else "none",
        pixels=("exact" if is_exact else "close") if card.goldens else "none",
        rows=tuple(rows),
    )


def _golden_inputs(golden: Golden, card: Card) -> Inputs:
    inputs = probe_inputs(card.latents, card.picture, [golden.seed])
    found = digest_latents(inputs, 0)
    if found != golden.latents:
        raise ModelError(
            f"golden seed {golden.seed}: the latents must have the SHA-256 {cut(golden.latents)}, "
            f"those drawn here have {found}: NumPy's Philox or contract.draw has changed, which must not happen"
        )
    return inputs


def _is_close(row: Array, golden: Golden, card: Card) -> bool:
    match card.output:
        case Image():
            return bool(np.abs(row.astype(int) - golden.output).max() <= 1)
        case Points(_, low, high):
            slack = POINT_TOLERANCE * np.subtract(high, low)
            return bool((np.abs(row - golden.output) <= slack + POINT_TOLERANCE * np.abs(golden.output)).all())
        case _:
            return bool((row == golden.output).all())
