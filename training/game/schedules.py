"""Who moves when: a schedule is a function from the step to that step's moves."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Update:
    """Players that act at once, on one deal."""

    players: tuple[str, ...]
    is_new_batch: bool = True
    """The next real batch is dealt; otherwise the last one again."""
    is_new_noise: bool = True
    """Fresh latents (and dropout) are drawn; otherwise the last ones again."""


@dataclass(frozen=True)
class Schedule:
    """A named function from step to moves."""

    name: str
    moves: Callable[[int], tuple[Update, ...]]

    def __str__(self) -> str:
        return self.name


def alternate(critic_steps: int = 1, *, is_new_batch: bool = False) -> Schedule:
    """D moves ``critic_steps`` times, each on its own real batch, then G once: arXiv:1406.2661, algorithm 1, with k.

    Args:
        critic_steps: k of the algorithm.
        is_new_batch: G's move too is dealt its own real batch.
    """
    moves = (Update(("D",)),) * critic_steps + (Update(("G",), is_new_batch=is_new_batch),)
    name = f"alternate({critic_steps}:1{', own batches' if is_new_batch else ''})"
    return Schedule(name, lambda step: moves)


def simultaneous(*players: str) -> Schedule:
    """All players move on one deal, from one forward pass."""
    moves = (Update(players or ("D", "G")),)
    return Schedule("simultaneous", lambda step: moves)


def phases(*parts: tuple[int, Schedule], last: Schedule) -> Schedule:
    """Each schedule for so many steps, then ``last`` for ever; a part sees the step counted from its own start."""

    def moves(step: int) -> tuple[Update, ...]:
        for length, schedule in parts:
            if step < length:
                return schedule.moves(step)
            step -= length
        return last.moves(step)

    return Schedule(" then ".join([f"{n} x {s}" for n, s in parts] + [str(last)]), moves)


def critic_first(critic_steps: int = 5, *, many: int = 100, first: int = 25, every: int = 500) -> Schedule:
    """D moves ``critic_steps`` times before each move of G, but ``many`` times in the first steps and in every so-manieth.

    martinarjovsky/WassersteinGAN, main.py: a critic near its optimum gives G a gradient that can be trusted.
    """
    often, usual = alternate(many), alternate(critic_steps)

    def moves(step: int) -> tuple[Update, ...]:
        return (often if step < first or step % every == 0 else usual).moves(step)

    return Schedule(f"critic_first({critic_steps}:1, {many}:1 in the first {first} and each {every}th)", moves)
