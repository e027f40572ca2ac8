"""Rows of games with labels or codes."""

from __future__ import annotations

from collections.abc import Iterable

from benchmarks.scoreboard.claims import AtLeast, AtMost, Below, Claim
from benchmarks.scoreboard.measures import PARZEN, Examined, Scored
from benchmarks.scoreboard.row import Protocol, PublishedFigure, Row

NEAREST = Scored(name="1nn-error", nearest=50_000)


def labelled() -> Iterable[Row]:
    """Conditional, informed and half supervised games."""
    table = "arXiv:1511.06434, table 3"
    yield Row(
        name="cdcgan",
        system="Conditional DCGAN, 1-NN error",
        data="mnist",
        better="lower",
        is_share=True,
        published=(
            PublishedFigure(figure="2.98 % (50,000 samples)", source=table, is_verified=False),
            PublishedFigure(figure="6.28 % (GAN), 3.1 % (real data)", source=table, is_verified=False),
        ),
        full=Protocol(
            recipe="cdcgan",
            measure=NEAREST,
            claim=Claim(system="conditional DCGAN", text="samples that teach a classifier", bar=AtMost(0.035)),
            minutes=30,
        ),
        scaled=Protocol(
            recipe="cdcgan_small",
            options=("--data", "mnist"),
            steps=10_000,
            measure=NEAREST,
            claim=Claim(system="conditional DCGAN", text="samples teach better than the table's GAN", bar=AtMost(0.0628)),
            minutes=20,
        ),
    )
    yield Row(
        name="cgan",
        system="Conditional GAN",
        data="mnist",
        better="higher",
        published=(
            PublishedFigure(figure="132 ± 1.8", source="arXiv:1411.1784, table 1, as MindSpore's models quote it"),
            PublishedFigure(
                figure="283.03 ± 2.15", source="MindSpore's models, research/cv/CGAN: convolutional, by Adam, on 32x32"
            ),
        ),
        full=Protocol(
            recipe="cgan",
            measure=PARZEN,
            claim=Claim(system="conditional GAN", text="the likelihood of table 1", bar=AtLeast(132)),
            minutes=20,
        ),
        note="the last step, where the paper takes the best on a validation set",
    )
    yield Row(
        name="cgan_agreement",
        system="Conditional GAN, class asked = class seen",
        data="mnist",
        better="higher",
        is_share=True,
        full=Protocol(
            recipe="cgan_small",
            measure=Scored(name="agreement"),
            claim=Claim(system="conditional GAN", text="it draws the digit that is asked for", bar=AtLeast(0.95)),
            minutes=15,
        ),
        note="by Adam instead of the paper's gradient descent",
    )
    code = Claim(system="InfoGAN", text="a code finds the digits without labels", bar=AtMost(0.06, "best"))
    yield Row(
        name="infogan",
        system="InfoGAN, error of its code",
        data="mnist",
        better="lower",
        is_share=True,
        published=(PublishedFigure(figure="5 %", source="arXiv:1606.03657, section 7.2"),),
        full=Protocol(recipe="infogan", measure=Examined(name="code-error"), seeds=5, claim=code, minutes=5),
        scaled=Protocol(recipe="infogan_small", measure=Examined(name="code-error"), seeds=5, claim=code, minutes=8),
    )
    fewer = Claim(
        system="Salimans", text="a fraction of the errors of labels alone", bar=Below("salimans_supervised", share=0.25)
    )
    source = "arXiv:1606.03498, table 1, mean of ten subsets"
    for labels, recipe, figure in (
        (20, "salimans_20", "1677 ± 452"),
        (50, "salimans_50", "221 ± 136"),
        (100, "salimans", "93 ± 6.5"),
        (200, "salimans_200", "90 ± 4.2"),
    ):
        yield Row(
            name=recipe,
            system=f"Salimans, {labels} labels, errors of 10,000",
            data="mnist",
            better="lower",
            published=(PublishedFigure(figure=figure, source=source, is_verified=labels != 50),),
            full=Protocol(
                recipe=recipe,
                measure=Examined(name="errors"),
                claim=Claim(system="Salimans", text="the errors of table 1", bar=AtMost(1.3 * float(figure.split()[0]))),
                minutes=20,
            ),
            scaled=Protocol(
                recipe=f"{recipe}_small",
                measure=Examined(name="errors"),
                claim=fewer if labels == 100 else None,
                minutes=20,
            ),
        )
    yield Row(
        name="salimans_supervised",
        system="The same D by 100 labels alone, errors of 10,000",
        data="mnist",
        better="lower",
        full=Protocol(recipe="salimans_supervised", measure=Examined(name="errors"), minutes=5),
    )
