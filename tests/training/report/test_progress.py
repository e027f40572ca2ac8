from __future__ import annotations

import io
import re

import pytest
from rich.console import Console

from training.report import Progress
from training.report.progress import say_duration

SCALARS = {"D/loss": 0.61, "D/r1": 0.02, "G/loss": 1.2, "accuracy/real": 0.71, "accuracy/fake": 0.68}


class Clock:
    """A clock that a test advances."""

    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


def follow(*, terminal: bool, steps: range, total: int, step_s: float, start: int = 0, width: int = 80) -> str:
    """What a run of the given steps, each ``step_s`` long, writes."""
    clock, written = Clock(), io.StringIO()
    console = Console(file=written, force_terminal=terminal, width=width, color_system=None, legacy_windows=False)
    with Progress(total, start=start, title="dcgan", console=console, clock=clock) as progress:
        for step in steps:
            clock.now_s += step_s
            progress.update(step, step * 64, SCALARS)
            if step == 150:
                progress.say("alarm: [entropy] 0.4 of 2.3")
    return written.getvalue()


def test_a_file_gets_a_plain_line_each_twentieth() -> None:
    """Without a terminal a run of any length in steps prints twenty lines and no control code."""
    lines = follow(terminal=False, steps=range(1, 2001), total=2000, step_s=0.01).splitlines()
    progress = [line for line in lines if line.startswith("dcgan")]
    assert len(progress) == 20
    assert progress[-1].startswith("dcgan  100 %  2,000/2,000")
    assert "\x1b" not in "".join(lines)


def test_a_plain_line_says_all() -> None:
    """A line holds step, rates, time left, losses and both accuracies, unbroken however narrow the console."""
    line = follow(terminal=False, steps=range(1, 101), total=2000, step_s=0.05).splitlines()[-1]
    assert line == (
        "dcgan  5 %  100/2,000  20.0 steps/s  1,280 images/s  1:35 left  loss D 0.610 G 1.200  accuracy real 71 % fake 68 %"
    )


def test_a_slow_run_prints_a_line_each_ten_seconds() -> None:
    """Where a twentieth takes long, ten seconds are enough for a line."""
    assert len(follow(terminal=False, steps=range(1, 31), total=100_000, step_s=1.0).splitlines()) == 3


def test_a_run_of_few_steps_prints_each() -> None:
    """Fewer steps than twenty give a line each."""
    assert len(follow(terminal=False, steps=range(1, 4), total=3, step_s=0.1).splitlines()) == 3


def test_a_resumed_run_counts_its_own_speed() -> None:
    """The rate of a run resumed at step 1,000 is that of the steps since, and the first update is no leap."""
    line = follow(terminal=False, steps=range(1001, 1101), total=2000, step_s=0.1, start=1000).splitlines()[-1]
    assert "10.0 steps/s  640 images/s  1:30 left" in line


def test_an_alarm_is_a_line_of_its_own() -> None:
    """What is said is printed word for word, brackets too, between the lines of progress."""
    lines = follow(terminal=False, steps=range(1, 301), total=300, step_s=0.01).splitlines()
    assert lines.index("alarm: [entropy] 0.4 of 2.3") == 10


def test_a_terminal_gets_a_bar() -> None:
    """In a terminal of 80 columns two lines hold it all, and the cursor comes back."""
    text = follow(terminal=True, steps=range(1, 101), total=2000, step_s=0.05)
    last = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text).rstrip().splitlines()[-2:]
    assert re.fullmatch(r"dcgan  [━╸╺ ]+  100/2,000  1:35 left", last[0].strip())
    assert last[1].strip() == "20.0 steps/s  1,280 images/s  loss D 0.610 G 1.200  accuracy real 71 % fake 68 %"
    assert text.rstrip().endswith("\x1b[?25h")


def test_an_alarm_stays_above_the_bar() -> None:
    """In a terminal what is said comes before the last bar and is there once."""
    text = follow(terminal=True, steps=range(1, 301), total=300, step_s=0.01)
    assert text.count("alarm: [entropy] 0.4 of 2.3") == 1
    assert text.index("alarm") < text.rindex("300/300")


def test_the_bar_is_let_go_when_the_run_fails() -> None:
    """An error in the run passes through and leaves a terminal with its cursor."""
    written = io.StringIO()
    console = Console(file=written, force_terminal=True, width=80)
    with pytest.raises(RuntimeError, match="not finite"), Progress(10, title="dcgan", console=console):
        raise RuntimeError("D/loss is not finite")
    assert written.getvalue().rstrip().endswith("\x1b[?25h")


def test_scalars_that_come_now_and_then_stay() -> None:
    """A scalar that an update leaves out keeps its last value."""
    written = io.StringIO()
    with Progress(2, title="dcgan", console=Console(file=written)) as progress:
        progress.update(1, 64, {"D/loss": 0.5})
        progress.update(2, 128, {"G/loss": 0.7})
    assert "loss D 0.500 G 0.700" in written.getvalue().splitlines()[-1]


@pytest.mark.parametrize(
    ("seconds", "said"), [(0, "0:00"), (65, "1:05"), (59.6, "1:00"), (3600, "1:00:00"), (90061, "25:01:01")]
)
def test_durations_are_said_in_hours_minutes_and_seconds(seconds: float, said: str) -> None:
    """Hours appear only where there are any."""
    assert say_duration(seconds) == said
