"""Rows of systems that change a given picture."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from itertools import product

from benchmarks.scoreboard.claims import AtLeast, Between, Claim, NotBelow
from benchmarks.scoreboard.measures import Examined
from benchmarks.scoreboard.row import Direction, Protocol, Row
from benchmarks.scoreboard.searched import Filled
from benchmarks.scoreboard.turned import Turned
from training.metrics.completion import MaskKind


def codes() -> Iterable[Row]:
    """The conditional adversarial autoencoder on rotated digits, with and without the term that spreads its codes."""
    spread = Claim(system="conditional adversarial autoencoder", text="codes spread as the prior", bar=AtLeast(0.9))
    for name, recipe, system, claim in (
        ("caae_codes", "caae_small", "Conditional adversarial autoencoder", spread),
        ("caae_narrow_codes", "caae_narrow_small", "The same without the term for codes", None),
    ):
        yield Row(
            name=name,
            system=f"{system}, dimensions of the code within 20 % of the prior's deviation",
            data="mnist",
            better="higher",
            is_share=True,
            full=Protocol(recipe=recipe, measure=Examined(name="z-within-20%"), claim=claim, minutes=15),
            note="a task and a size of our own, angles for ages; the paper has neither",
        )

    turns = (
        ("age_read", "age-read", "angle asked for and seen in changed pictures", "pictures are turned as asked", 0.9),
        ("digit_kept", "digit-kept", "digit still seen in changed pictures", "the digit stays", 0.95),
    )
    for name, measure, words, text, bar in turns:
        yield Row(
            name=f"caae_{name}",
            system=f"Conditional adversarial autoencoder, {words}",
            data="mnist",
            better="higher",
            is_share=True,
            full=Protocol(
                recipe="caae_small",
                measure=Turned(name=measure),
                claim=Claim(system="conditional adversarial autoencoder", text=text, bar=AtLeast(bar)),
                minutes=15,
            ),
            note="a task and a size of our own, angles for ages; the paper has neither; the run is that of the row caae_codes",
        )


def pictures() -> Iterable[Row]:
    """pix2pix from edges to digits, and its U-Net by L1 alone."""
    sharp = Claim(system="pix2pix", text="as sharp as real digits", bar=Between(0.9, 1.1))
    right = Claim(system="pix2pix", text="at no loss of classifier accuracy", bar=NotBelow("pix2pix_l1_accuracy", 0.005))
    figures: tuple[tuple[str, str, Direction], ...] = (
        ("sharpness", "Laplacian energy over that of real digits", "nearer"),
        ("accuracy", "class of the digit whose edges are given", "higher"),
    )
    for recipe, system, claims in (
        ("pix2pix", "pix2pix, edges to digits", {"sharpness": sharp, "accuracy": right}),
        ("pix2pix_l1", "The same U-Net by L1 alone", {}),
    ):
        for measure, words, better in figures:
            yield Row(
                name=f"{recipe}_{measure}",
                system=f"{system}, {words}",
                data="mnist",
                better=better,
                is_share=measure == "accuracy",
                full=Protocol(recipe=f"{recipe}_small", measure=Examined(name=measure), claim=claims.get(measure), minutes=15),
                note="a task and a size of our own; the paper has neither",
            )


def completions() -> Iterable[Row]:
    """Holes in test images filled by searching the latents of DCGAN, and of the default recipe from each class."""
    nearer = Claim(system="completion", text="nearer to the hidden pixels than the mean of the known ones", bar=AtLeast(0))
    named = Claim(system="completion", text="a classifier names 20 points more than with the hole", bar=AtLeast(0.2))
    masks: tuple[tuple[MaskKind, str], ...] = (("center", "middle"), ("left", "left half"))
    figures: tuple[tuple[str, str, Claim], ...] = (
        ("psnr", "dB over mean filling", nearer),
        ("accuracy", "accuracy over that of images with the hole", named),
    )
    unpublished = "the paper shows faces and prints no figure; 1,000 test images"
    for (mask, part), (measure, words, claim) in product(masks, figures):
        found = Filled(name=f"{measure}-gain", mask=mask)
        yield Row(
            name=f"completion_{mask}_{measure}",
            system=f"Completion of the {part} by DCGAN, {words}",
            data="mnist",
            better="higher",
            is_share=measure == "accuracy",
            full=Protocol(recipe="dcgan", measure=found, claim=claim, minutes=15),
            scaled=Protocol(recipe="dcgan_small", measure=found, claim=claim, minutes=20),
            note=f"{unpublished}; the run is that of the row dcgan",
        )
        yield Row(
            name=f"completion_default_{mask}_{measure}",
            system=f"Completion of the {part} by the default recipe, {words}",
            data="mnist5k",
            better="higher",
            is_share=measure == "accuracy",
            full=Protocol(recipe="cdcgan_r1", measure=replace(found, steps=500, rate=0.03), claim=claim, minutes=15),
            note=f"{unpublished}; ten starts, one a class; the run is that of the row cdcgan_r1",
        )
