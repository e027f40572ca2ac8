"""Writes into a run directory what came out of the run."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path

import numpy as np

from training.files import write_whole
from training.report.curves import draw_accuracy_curve, draw_learning_curve
from training.report.events import FILE_NAME, Events
from training.report.journal import append_row, cut_journal, read_rows
from training.report.meters import MetricsSink, null_sink
from training.report.pictures import jpeg_bytes, png_bytes
from training.report.samples import Region, draw_samples
from training.report.timelapse import encode_timelapse, is_picture

STATS, TIMINGS, SAMPLES, TIMELAPSE = "stats.jsonl", "timings.jsonl", "samples", "samples.webp"
LEARNING_CURVE, ACCURACY_CURVE = "learning-curve.png", "accuracy-curve.png"

MOST_EVENT_BYTES = 256 * 1024
"""Of a PNG in an event: TensorBoard's writer takes .4 s for the checksum of one MB. What is larger becomes a JPEG there."""

_SAMPLE = re.compile(r"step-(\d{6,})\.png", re.ASCII)


class Recorder:
    """Numbers, TensorBoard events and sample pictures while the run lasts; curves and a time-lapse when it ends.

    A resumed run's stats, samples, curves and time-lapse equal an unbroken one's byte for byte, its events but for the
    wall time; what depends on the clock stands apart in timings.jsonl. For that, log a step before its checkpoint.
    No file is held open between calls, so a recorder need not be closed.
    """

    def __init__(
        self,
        run: Path,
        *,
        from_step: int = 0,
        from_images: int = 0,
        backdrop: np.ndarray | None = None,
        region: Region | None = None,
        watch: MetricsSink = null_sink,
        clock: Callable[[], float] = time.time,
        timer: Callable[[], float] = time.monotonic,
    ) -> None:
        """Opens the run directory, made if absent.

        Args:
            run: the run directory.
            from_step: 0 starts afresh and removes an earlier run's record; n > 0 resumes and removes what is past step n.
            from_images: real images that the run has seen by that step.
            backdrop: real points [m,k] or sequences [m,t] for the plots of samples that are no images.
            region: the least and the greatest value per component that those plots show.
            watch: called for each logged step, and first for the last one of an earlier process.
            clock: seconds since the epoch, for the events.
            timer: seconds of any origin, for the rates; no one sets it, as a clock is set.
        """
        self._watch = watch
        self._run, self._backdrop, self._region, self._clock, self._timer = run, backdrop, region, clock, timer
        (run / SAMPLES).mkdir(parents=True, exist_ok=True)
        last_step = from_step if from_step > 0 else -1
        last_stats = cut_journal(run / STATS, last_step=last_step)
        last_timing = cut_journal(run / TIMINGS, last_step=last_step)
        self._events = Events(run, last_step=last_step)
        _drop_pictures(run, last_step)
        now_s = timer()
        self._started_s = now_s - (last_timing.get("wall_s", 0.0) if last_timing else 0.0)
        self._previous = (now_s, from_step, from_images)
        if last_stats:
            logged = {name: value for name, value in last_stats.items() if name not in ("step", "images")}
            scalars = {name: value for name, value in logged.items() if isinstance(value, int | float)}
            watch(last_stats["step"], last_stats.get("images", 0), scalars, None)

    def log(self, step: int, images: int, scalars: Mapping[str, float]) -> None:
        """Appends the scalars of a step; ``images`` is how many real images the run has seen so far."""
        plain = {name: float(value) for name, value in scalars.items()}
        append_row(self._run / STATS, {"step": int(step), "images": int(images), **plain})
        self._events.scalars(step, self._clock(), plain)
        self._watch(step, images, plain, self._log_rate(step, images, self._timer()))

    def samples(self, step: int, outputs: np.ndarray) -> Path:
        """Draws images uint8 [n,h,w,c], points float [n,k] or tokens int64 [n,t] as samples/step-000200.png and gives its path.

        Raises:
            ValueError: the outputs are none of them.
        """
        picture = draw_samples(outputs, backdrop=self._backdrop, region=self._region)
        path = self._run / SAMPLES / f"step-{step:06d}.png"
        path.parent.mkdir(exist_ok=True)
        png = png_bytes(picture)
        write_whole(path, png)
        encoded = png if len(png) <= MOST_EVENT_BYTES else jpeg_bytes(picture)
        self._events.image(step, self._clock(), "samples", picture.size, encoded)
        return path

    def picture(self, name: str, outputs: np.ndarray) -> Path:
        """Draws images or points as NAME.png next to the curves and gives its path; one of that name before is replaced."""
        path = self._run / f"{name}.png"
        write_whole(path, png_bytes(draw_samples(outputs, backdrop=self._backdrop, region=self._region)))
        return path

    def sync(self) -> None:
        """Writes the rows and events so far to the disk, so that a checkpoint that follows has none after it that it lacks."""
        for name in (STATS, TIMINGS, FILE_NAME):
            with suppress(FileNotFoundError), (self._run / name).open("rb") as file:  # one that was deleted begins anew
                os.fsync(file.fileno())

    def finish(self) -> None:
        """Draws the curves and the time-lapse of all that the run directory holds.

        It may be called on a run that stopped early: ``Recorder(run, from_step=last).finish()``.
        """
        rows = read_rows(self._run / STATS)
        for name, draw in ((LEARNING_CURVE, draw_learning_curve), (ACCURACY_CURVE, draw_accuracy_curve)):
            picture = draw(rows)
            if picture is not None:
                write_whole(self._run / name, png_bytes(picture))
        frames = [(step, path) for step, path in list_samples(self._run) if is_picture(path)]
        if frames:
            write_whole(self._run / TIMELAPSE, encode_timelapse(frames))

    def _log_rate(self, step: int, images: int, now_s: float) -> float | None:
        """Images a second since the step that was logged before; None where that is the same one."""
        before_s, before_step, before_images = self._previous
        if step == before_step:
            return None
        took_s = max(now_s - before_s, 1e-9)
        timing = {
            "step": int(step),
            "wall_s": round(now_s - self._started_s, 3),
            "steps_per_s": round((step - before_step) / took_s, 3),
            "images_per_s": round((images - before_images) / took_s, 1),
        }
        append_row(self._run / TIMINGS, timing)
        self._previous = (now_s, step, images)
        return timing["images_per_s"]


def list_samples(run: Path) -> list[tuple[int, Path]]:
    """Step and path of each sample picture of a run, in the order of the steps."""
    found = ((_SAMPLE.fullmatch(path.name), path) for path in (run / SAMPLES).glob("step-*.png"))
    return sorted((int(match[1]), path) for match, path in found if match)


def _drop_pictures(run: Path, last_step: int) -> None:
    """Removes the samples past a step and what was drawn from them."""
    stale = [path for step, path in list_samples(run) if step > last_step]
    for path in [*stale, *(run / name for name in (LEARNING_CURVE, ACCURACY_CURVE, TIMELAPSE))]:
        path.unlink(missing_ok=True)
