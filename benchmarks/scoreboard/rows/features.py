"""Rows of images that are sampled from a classifier's features."""

from __future__ import annotations

from collections.abc import Iterable

from benchmarks.scoreboard.claims import Above, AtLeast, Claim
from benchmarks.scoreboard.measures import Scored
from benchmarks.scoreboard.row import Protocol, Row

SAMPLES = 2_000


def features() -> Iterable[Row]:
    """PPGN, its chain without the reconstruction of features, and its nets asked for the parity of a digit."""
    asked = Claim(system="PPGN", text="samples show the class asked for", bar=AtLeast(0.95))
    varied = Claim(
        system="PPGN",
        text="more varied within a class than without the reconstruction of features",
        bar=Above("ppgn_no_prior", "median"),
    )
    swapped = Claim(system="PPGN", text="another classifier steers the same generator", bar=AtLeast(0.9))
    rows: tuple[tuple[str, str, str, str | None, Claim | None], ...] = (
        ("ppgn_asked", "PPGN, class asked for", "agreement", None, asked),
        ("ppgn_parity", "PPGN, parity asked for", "agreement", "parity", swapped),
        ("ppgn", "PPGN, variety within a class", "recall-within", None, varied),
        ("ppgn_no_prior", "DGN-AM, variety within a class", "recall-within", "no-prior", None),
    )
    for name, system, measure, variant, claim in rows:
        full, few = (Scored(name=measure, variant=variant, samples=samples) for samples in (10_000, SAMPLES))
        yield Row(
            name=name,
            system=system,
            data="mnist",
            better="higher",
            full=Protocol(recipe="ppgn", measure=full, claim=claim, minutes=15),
            scaled=Protocol(recipe="ppgn_small", measure=few, claim=claim, minutes=8),
            is_share=True,
            note="published without a figure for digits; dense nets, an unrolled chain; all four rows are of one run",
        )
