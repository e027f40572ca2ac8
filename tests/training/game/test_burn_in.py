"""Settings that glide, at steps where their values are known."""

from __future__ import annotations

import pytest

from training.game.burn_in import AdamSchedule, Cosine, HalfLife


@pytest.mark.parametrize(("step", "value"), [(0, 1.0), (25, 0.8681981), (50, 0.55), (100, 0.1), (1000, 0.1)])
def test_a_cosine_glides_and_then_stays(step: int, value: float) -> None:
    """From 1 to .1 over 100 steps: half way in the middle, .1 afterwards; at a quarter .55 + .45 cos(45 degrees)."""
    assert Cosine(1.0, 0.1, 100)(step) == pytest.approx(value)


def test_a_decay_from_a_half_life() -> None:
    """With 100 images a step, a half-life of 100 is a decay of 1/2, of 200 one of sqrt(1/2), of none 0."""
    lives = {0: 0.0, 1: 100.0, 2: 200.0}
    decay = HalfLife(lambda step: lives[step], batch=100)
    assert [decay(step) for step in lives] == pytest.approx([0.0, 0.5, 0.5**0.5])


def test_adam_is_told_both_settings() -> None:
    """Rate and beta2 of the step, beta1 as it was."""
    hyperparameters = AdamSchedule(Cosine(2.0, 1.0, 10), 0.0, Cosine(0.9, 0.99, 10))
    assert hyperparameters(10, 999) == {"lr": 1.0, "betas": (0.0, 0.99)}
