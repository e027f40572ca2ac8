"""The live line of a training run: how far, how fast, how long still, and how the game stands."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Mapping
from types import TracebackType

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from training.report.scalars import is_accuracy, is_loss, say_name

RATE_WINDOW_S = 15.0
LINE_EVERY_S = 10.0
LINES_A_RUN = 20


class Progress:
    """A context manager: a bar that is redrawn in a terminal, and elsewhere a plain line each 5 % or 10 s."""

    def __init__(
        self, total: int, *, start: int = 0, title: str, console: Console, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Args: ``total`` and ``start`` are the last and the first step, ``clock`` gives seconds of any origin."""
        self._total, self._step, self._images, self._title = total, start, 0, title
        self._console, self._clock = console, clock
        self._scalars: Mapping[str, float] = {}
        self._recent = deque([(clock(), start)], maxlen=4096)
        self._line_step, self._line_s = start, clock()
        is_live = console.is_terminal and not console.is_dumb_terminal
        self._live = Live(console=console, get_renderable=self._render, refresh_per_second=4) if is_live else None

    def __enter__(self) -> Progress:
        if self._live:
            self._live.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._live:
            self._live.stop()

    def update(self, step: int, images: int, scalars: Mapping[str, float]) -> None:
        """Shows step, images seen so far and the latest scalars; one that is not given keeps its last value."""
        now_s = self._clock()
        self._step, self._images, self._scalars = step, images, {**self._scalars, **scalars}
        self._recent.append((now_s, step))
        while len(self._recent) > 2 and now_s - self._recent[0][0] > RATE_WINDOW_S:
            self._recent.popleft()
        if not self._live and self._is_line_due(now_s):
            self._line_step, self._line_s = step, now_s
            self._console.print(self._line(), markup=False, highlight=False, soft_wrap=True)

    def say(self, text: str) -> None:
        """Prints a line that stays, above the bar."""
        self._console.print(Text(text, style="bold yellow"), soft_wrap=True)

    def _is_line_due(self, now_s: float) -> bool:
        stride = max(1, self._total // LINES_A_RUN)
        return (
            self._step >= self._total
            or self._step // stride > self._line_step // stride
            or now_s - self._line_s >= LINE_EVERY_S
        )

    def _rates(self) -> tuple[float, float]:
        """Steps and images a second over the recent past; zeros while unknown."""
        (first_s, first_step), (last_s, last_step) = self._recent[0], self._recent[-1]
        if last_s <= first_s or last_step <= first_step:
            return 0.0, 0.0
        rate = (last_step - first_step) / (last_s - first_s)
        return rate, rate * self._images / self._step

    def _how_far(self) -> list[str]:
        rate, images_rate = self._rates()
        speeds = [f"{rate:,.1f} steps/s", f"{images_rate:,.0f} images/s"] if rate else []
        left = say_duration((self._total - self._step) / rate) if rate else "-:--"
        return [f"{self._step:,}/{self._total:,}", *speeds, f"{left} left"]

    def _how_the_game_stands(self) -> list[str]:
        scalars = self._scalars.items()
        losses = [f"{say_name(name)} {value:.3f}" for name, value in scalars if is_loss(name)]
        accuracies = [f"{say_name(name)} {100 * value:.0f} %" for name, value in scalars if is_accuracy(name)]
        said = [f"loss {' '.join(losses)}"] if losses else []
        return said + ([f"accuracy {' '.join(accuracies)}"] if accuracies else [])

    def _line(self) -> str:
        percent = 100 * self._step // self._total if self._total else 100
        return "  ".join([self._title, f"{percent} %", *self._how_far(), *self._how_the_game_stands()])

    def _render(self) -> Group:
        row = Table.grid(padding=(0, 2), expand=True)
        row.add_column(no_wrap=True)
        row.add_column(ratio=1)
        steps, *speeds, left = self._how_far()
        figures = (steps, left)
        for _ in figures:
            row.add_column(no_wrap=True, justify="right")
        bar = ProgressBar(total=max(self._total, 1), completed=self._step)
        row.add_row(Text(self._title, style="bold"), bar, *(Text(figure, style="cyan") for figure in figures))
        return Group(row, Text("  ".join([*speeds, *self._how_the_game_stands()]), style="dim"))


def say_duration(seconds: float) -> str:
    """Seconds as minutes and seconds, 1:05, or as hours too, 2:01:05."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
