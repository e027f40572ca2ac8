"""Rows of sequences of tokens."""

from __future__ import annotations

from collections.abc import Iterable

from benchmarks.scoreboard.claims import Below, Claim
from benchmarks.scoreboard.measures import Scored
from benchmarks.scoreboard.row import Protocol, PublishedFigure, Row

GAP = 0.25
"""Nats a token; published are 9.038 - 8.736 = .302."""


def sequences() -> Iterable[Row]:
    """SeqGAN, and its generator by maximum likelihood alone."""
    measure = Scored(name="oracle-nll")
    bar = Below("seqgan_mle", margin=GAP)
    claim = Claim(system="SeqGAN", text="the policy gradient finds likelier sequences than maximum likelihood", bar=bar)
    for recipe, system, figure, ours in (
        ("seqgan_mle", "maximum likelihood", "9.038", None),
        ("seqgan", "SeqGAN", "8.736", claim),
    ):
        yield Row(
            name=recipe,
            system=f"{system}, synthetic data",
            data="oracle",
            better="lower",
            published=(PublishedFigure(figure=figure, source="arXiv:1609.05473, table 1"),),
            full=Protocol(recipe=recipe, measure=measure, claim=ours, minutes=60),
            scaled=Protocol(recipe=f"{recipe}_small", measure=measure, claim=ours, minutes=20 if ours else 1),
            note="another random LSTM than the authors', so that only the difference of the two rows compares; scaled: 10 of "
            "50 tokens instead of 20 of 5,000, a generator of width 8 instead of 32, eight batches and a baseline in the "
            "policy gradient; likelihood alone, sampled at a temperature of .85, does as well there; the measure "
            "does not see lost variety",
        )
