"""Which players update when: a schedule is a function from the step to that step's updates."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Update:
    """Players that update simultaneously, on one real batch and one draw of latents."""

    players: tuple[str, ...]
    is_new_batch: bool = True
    """Use the next real batch; otherwise the last one again."""
    is_new_noise: bool = True
    """Draw fresh latents (and dropout); otherwise the last ones again."""


@dataclass(frozen=True)
class Schedule:
    """A named function from the step to its updates."""

    name: str
    updates: Callable[[int], tuple[Update, ...]]

    def __str__(self) -> str:
        return self.name


def alternate(critic_steps: int = 1, *, is_new_batch: bool = False) -> Schedule:
    """Update D ``critic_steps`` times, each on its own real batch, then G once: arXiv:1406.2661, algorithm 1, with k.

    Args:
        critic_steps: k of the algorithm.
        is_new_batch: G's update uses its own real batch too.
    """
    updates = (Update(("D",)),) * critic_steps + (Update(("G",), is_new_batch=is_new_batch),)
    name = f"alternate({critic_steps}:1{', own batches' if is_new_batch else ''})"
    return Schedule(name, lambda step: updates)


def simultaneous(*players: str) -> Schedule:
    """Update all players from one forward pass."""
    updates = (Update(players or ("D", "G")),)
    return Schedule("simultaneous", lambda step: updates)


def phases(*parts: tuple[int, Schedule], last: Schedule) -> Schedule:
    """Follow each schedule for its number of steps, then ``last``; a part counts steps from its own start."""

    def updates(step: int) -> tuple[Update, ...]:
        for length, schedule in parts:
            if step < length:
                return schedule.updates(step)
            step -= length
        return last.updates(step)

    return Schedule(" then ".join([f"{n} x {s}" for n, s in parts] + [str(last)]), updates)


def critic_first(critic_steps: int = 5, *, many: int = 100, first: int = 25, every: int = 500) -> Schedule:
    """Update D ``critic_steps`` times before each update of G, but ``many`` times in the first steps and every ``every`` steps.

    martinarjovsky/WassersteinGAN, main.py: a critic near its optimum gives G a gradient that can be trusted.
    """
    often, usual = alternate(many), alternate(critic_steps)

    def updates(step: int) -> tuple[Update, ...]:
        return (often if step < first or step % every == 0 else usual).updates(step)

    return Schedule(f"critic_first({critic_steps}:1, {many}:1 in the first {first} and each {every}th)", updates)
