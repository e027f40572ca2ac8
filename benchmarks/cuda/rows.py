"""Whether a row depends on the other rows of its batch, and the rate in rows a second."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from benchmarks.cuda.engines import Answer, Run
from contract import Drawn, Latents, draw

SEEDS = range(64)
SHIFTS = (0, 29)
"""Each batch is made with the seeds turned by these, so that every position of it holds two of them in turn."""
RATE_SIZES = (1, 8, 64)


@dataclass(kw_only=True)
class Difference:
    """What was unlike in all comparisons of one kind."""

    pixel_rows: int = 0
    """Rows with a grey level that differs."""
    float_rows: int = 0
    """Rows with a bit that differs before rounding."""
    grey_levels: int = 0
    """The greatest difference of a pixel."""
    greatest: float = 0.0
    """The greatest difference before rounding, in grey levels."""
    sizes: set[int] = field(default_factory=set)
    """Batch sizes at which any bit differed."""

    def add(self, given: Answer, expected: Answer) -> None:
        """Compare rows that should be the same."""
        n = len(given[0])
        pixels = np.abs(given[0].astype(np.int64) - expected[0]).reshape(n, -1)
        levels = np.abs(given[1].astype(np.float64) - expected[1]).reshape(n, -1)
        self.pixel_rows += int(pixels.any(1).sum())
        self.float_rows += int(levels.any(1).sum())
        self.grey_levels = max(self.grey_levels, int(pixels.max()))
        self.greatest = max(self.greatest, float(levels.max()))
        if levels.any():
            self.sizes.add(n)

    def to_json(self) -> dict[str, Any]:
        return {
            "pixels_equal": not self.pixel_rows,
            "floats_equal": not self.float_rows,
            "pixel_rows": self.pixel_rows,
            "float_rows": self.float_rows,
            "grey_levels": self.grey_levels,
            "greatest": self.greatest,
            "sizes": sorted(self.sizes),
        }


def alone(run: Run, latents: Latents) -> Answer:
    """Every seed computed by itself."""
    drawn = draw(latents, SEEDS)
    return _stack([run(_pick(drawn, [place])) for place in range(len(SEEDS))])


def compare_rows(run: Run, again: Run, latents: Latents, sizes: tuple[int, ...], left_s: Callable[[], float]) -> dict[str, Any]:
    """Rows of a batch against the same rows alone, at every size and position; each batch twice; and another session's rows.

    Args:
        run: what is examined.
        again: the same, opened anew.
        latents: the model's.
        sizes: batch sizes, each 1..64.
        left_s: sizes are left out once this is 0.
    """
    drawn, expected = draw(latents, SEEDS), alone(run, latents)
    company, repeats, fixed, sessions = Difference(), Difference(), Difference(), Difference()
    tried = []
    for size in sizes:
        if left_s() <= 0:
            break
        tried.append(size)
        for shift in SHIFTS:
            places = [(row + shift) % len(SEEDS) for row in range(size)]
            given = run(_pick(drawn, places))
            company.add(given, _rows(expected, places))
            repeats.add(run(_pick(drawn, places)), given)
    full = run(drawn)
    for shift in SHIFTS[1:]:
        places = [(row + shift) % len(SEEDS) for row in range(len(SEEDS))]
        fixed.add(run(_pick(drawn, places)), _rows(full, places))
    sessions.add(again(drawn), full)
    sessions.add(alone(again, latents), expected)
    return {
        "sizes_tried": len(tried),
        "is_complete": len(tried) == len(sizes),
        "company": company.to_json(),
        "repeats": repeats.to_json(),
        "one_fixed_size": fixed.to_json(),
        "sessions": sessions.to_json(),
    }


def compare_answers(given: Answer, expected: Answer) -> dict[str, Any]:
    """One engine's rows with another's."""
    difference = Difference()
    difference.add(given, expected)
    return difference.to_json()


def measure_rates(run: Run, latents: Latents, seconds: float) -> dict[str, float]:
    """Images a second by batch size, the median batch, from latents in memory to pixels in memory."""
    return {str(size): _rate(run, draw(latents, range(size)), size, seconds) for size in RATE_SIZES}


def _rate(run: Run, drawn: Drawn, size: int, seconds: float) -> float:
    for _ in range(3):
        run(drawn)
    took: list[float] = []
    while not took or sum(took) < seconds:
        started_s = time.perf_counter()
        run(drawn)
        took.append(time.perf_counter() - started_s)
    return round(size / statistics.median(took), 1)


def _pick(drawn: Drawn, places: list[int]) -> Drawn:
    return {name: values[places] for name, values in drawn.items()}


def _rows(answer: Answer, places: list[int]) -> Answer:
    return answer[0][places], answer[1][places]


def _stack(answers: list[Answer]) -> Answer:
    return np.concatenate([pixels for pixels, _ in answers]), np.concatenate([levels for _, levels in answers])
