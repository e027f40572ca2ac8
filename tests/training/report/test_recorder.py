from __future__ import annotations

import io
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.summary.writer.record_writer import RecordWriter

from training.report import Recorder

STEPS = range(10, 101, 10)


def play(recorder: Recorder, steps: range) -> None:
    """A run in small: every scalar and every picture is a function of the step."""
    for step in steps:
        images = np.random.default_rng(step).integers(0, 256, (9, 8, 8, 1), np.uint8)
        recorder.log(step, step * 64, {"D/loss": 1 / step, "G/loss": step / 7, "accuracy/real": 0.5 + 1 / step})
        if step % 20 == 0:
            recorder.samples(step, images)


def read_events(run: Path) -> EventAccumulator:
    events = EventAccumulator(str(run), size_guidance={"scalars": 0, "images": 0})
    events.Reload()
    return events


def event_values(run: Path) -> dict[str, list[Any]]:
    events = read_events(run)
    values: dict[str, list[Any]] = {tag: [(e.step, e.value) for e in events.Scalars(tag)] for tag in events.Tags()["scalars"]}
    return values | {"samples": [(e.step, e.encoded_image_string) for e in events.Images("samples")]}


def pictures(run: Path) -> dict[str, bytes]:
    return {str(path.relative_to(run)): path.read_bytes() for path in run.rglob("*") if path.suffix in (".png", ".webp")}


def event_record(event: bytes) -> bytes:
    """A record whose checksums are right."""
    file = io.BytesIO()
    RecordWriter(file).write(event)
    return file.getvalue()


def ticking(*times_s: float) -> Callable[[], float]:
    """A clock that returns the given times in turn, and the last one from then on."""
    left = list(times_s)
    return lambda: left.pop(0) if len(left) > 1 else left[0]


def test_a_logged_line_is_on_disk_at_once(tmp_path: Path) -> None:
    """A line of stats.jsonl can be read while the run goes on."""
    recorder = Recorder(tmp_path)
    recorder.log(1, 64, {"D/loss": 0.5, "accuracy/real": 0.75})
    assert json.loads((tmp_path / "stats.jsonl").read_text()) == {
        "step": 1,
        "images": 64,
        "D/loss": 0.5,
        "accuracy/real": 0.75,
    }


def test_tensorboard_reads_scalars_and_samples(tmp_path: Path) -> None:
    """TensorBoard's own reader finds every scalar and every sample picture under its step."""
    recorder = Recorder(tmp_path)
    play(recorder, STEPS)
    values = event_values(tmp_path)
    assert [step for step, _ in values["D/loss"]] == list(STEPS)
    assert values["D/loss"][0][1] == pytest.approx(0.1)
    assert [step for step, _ in values["samples"]] == [20, 40, 60, 80, 100]
    assert values["samples"][1][1] == (tmp_path / "samples" / "step-000040.png").read_bytes()
    with Image.open(tmp_path / "samples" / "step-000020.png") as picture:
        assert read_events(tmp_path).Images("samples")[0].width == picture.width


@pytest.mark.slow
@pytest.mark.parametrize("torn", [0, 7], ids=["whole", "torn"])
def test_a_resumed_run_equals_an_unbroken_one(tmp_path: Path, torn: int) -> None:
    """Stats, events, samples, curves and time-lapse of a run killed at step 80 and resumed from 50 are an unbroken run's."""
    unbroken = Recorder(tmp_path / "unbroken")
    play(unbroken, STEPS)
    unbroken.finish()
    play(Recorder(tmp_path / "resumed"), range(10, 81, 10))
    for name in ("stats.jsonl", "timings.jsonl", "events.out.tfevents"):
        path = tmp_path / "resumed" / name
        path.write_bytes(path.read_bytes()[: path.stat().st_size - torn])
    resumed = Recorder(tmp_path / "resumed", from_step=50)
    play(resumed, range(60, 101, 10))
    resumed.finish()
    assert (tmp_path / "resumed/stats.jsonl").read_bytes() == (tmp_path / "unbroken/stats.jsonl").read_bytes()
    assert event_values(tmp_path / "resumed") == event_values(tmp_path / "unbroken")
    assert pictures(tmp_path / "resumed") == pictures(tmp_path / "unbroken")


@pytest.mark.parametrize("damage", [64 * b"\0", event_record(10 * b"\xff"), b"\xff" * 64], ids=["zeros", "event", "length"])
def test_events_behind_damage_are_dropped(tmp_path: Path, damage: bytes) -> None:
    """What a loss of power leaves at the end of the file, zeros or garbage, does not hide the events of the resumed run."""
    play(Recorder(tmp_path), range(10, 31, 10))
    with (tmp_path / "events.out.tfevents").open("ab") as file:
        file.write(damage)
    Recorder(tmp_path, from_step=30).log(40, 2560, {"D/loss": 1.0})
    assert [step for step, _ in event_values(tmp_path)["D/loss"]] == [10, 20, 30, 40]


@pytest.mark.parametrize("cut", [1, 5, 12, 30])
def test_a_torn_last_record_is_dropped_wherever_it_was_cut(tmp_path: Path, cut: int) -> None:
    """A resume at the very step that was torn keeps the lines and events before it and appends after them.

    A row that lacks nothing but the end of its line is whole.
    """
    play(Recorder(tmp_path), range(10, 31, 10))
    for name in ("stats.jsonl", "events.out.tfevents"):
        path = tmp_path / name
        path.write_bytes(path.read_bytes()[:-cut])
    Recorder(tmp_path, from_step=30).log(40, 2560, {"D/loss": 1.0})
    rows = [json.loads(line)["step"] for line in (tmp_path / "stats.jsonl").read_text().splitlines()]
    assert rows == ([10, 20, 30, 40] if cut == 1 else [10, 20, 40])
    assert [step for step, _ in event_values(tmp_path)["D/loss"]] == [10, 20, 40]


def test_damaged_records_do_not_end_a_run(tmp_path: Path) -> None:
    """A row of brackets without end, a picture that is none, and a user's own picture are left out, and the run goes on."""
    play(Recorder(tmp_path), range(10, 61, 10))
    for name in ("stats.jsonl", "timings.jsonl"):
        with (tmp_path / name).open("ab") as file:
            file.write(100_000 * b"[" + b"\n")
    samples = sorted((tmp_path / "samples").iterdir())
    samples[0].write_bytes(b"no picture")
    (tmp_path / "samples" / "step-best.png").write_bytes(samples[1].read_bytes())
    resumed = Recorder(tmp_path, from_step=60)
    resumed.log(70, 2560, {"D/loss": 1.0})
    resumed.finish()
    assert [json.loads(line)["step"] for line in (tmp_path / "stats.jsonl").read_text().splitlines()] == list(range(10, 71, 10))
    with Image.open(tmp_path / "samples.webp") as timelapse:
        assert getattr(timelapse, "n_frames", 1) == len(samples) - 1


def test_a_fresh_start_removes_an_earlier_run(tmp_path: Path) -> None:
    """A recorder from step 0 keeps nothing of what an earlier run left in the directory."""
    earlier = Recorder(tmp_path)
    play(earlier, STEPS)
    earlier.finish()
    Recorder(tmp_path)
    assert (tmp_path / "stats.jsonl").read_bytes() == (tmp_path / "timings.jsonl").read_bytes() == b""
    assert read_events(tmp_path).Tags()["scalars"] == []
    assert pictures(tmp_path) == {}


def test_a_value_that_is_not_finite_is_null(tmp_path: Path) -> None:
    """Stats stay JSON when a scalar is NaN or infinite, and the curves leave it out."""
    recorder = Recorder(tmp_path)
    recorder.log(1, 64, {"D/loss": 1.0})
    recorder.log(2, 128, {"D/loss": float("nan"), "G/loss": float("-inf")})
    recorder.finish()
    last = (tmp_path / "stats.jsonl").read_text().splitlines()[-1]
    assert last == '{"step": 2, "images": 128, "D/loss": null, "G/loss": null}'
    assert (tmp_path / "learning-curve.png").exists()


def test_timings_hold_the_clock_and_a_resume_goes_on_from_them(tmp_path: Path) -> None:
    """Wall seconds count on over a resume, without the time in between, and a step has one line however often it is logged.

    A run may stop between two records: what it did since the last one is no part of the first rate after the resume. A clock
    that is set back changes no rate.
    """
    first = Recorder(tmp_path, clock=ticking(1e9, 1e3), timer=ticking(100, 102, 106))
    first.log(10, 640, {})
    first.log(20, 1280, {})
    first.log(20, 1280, {"alarm/entropy": 2.3})
    Recorder(tmp_path, from_step=25, from_images=1600, timer=ticking(5000, 5005)).log(30, 1920, {})
    rows = [json.loads(line) for line in (tmp_path / "timings.jsonl").read_text().splitlines()]
    assert rows == [
        {"step": 10, "wall_s": 2.0, "steps_per_s": 5.0, "images_per_s": 320.0},
        {"step": 20, "wall_s": 6.0, "steps_per_s": 2.5, "images_per_s": 160.0},
        {"step": 30, "wall_s": 11.0, "steps_per_s": 1.0, "images_per_s": 64.0},
    ]


def test_a_run_that_logged_nothing_finishes_without_pictures(tmp_path: Path) -> None:
    """No rows and no samples make no curve and no time-lapse, and no error."""
    Recorder(tmp_path).finish()
    assert pictures(tmp_path) == {}


@pytest.mark.slow
def test_finish_draws_a_stopped_run_from_its_files(tmp_path: Path) -> None:
    """A run that was killed gets its curves and its time-lapse from a recorder that only finishes it."""
    play(Recorder(tmp_path), STEPS)
    Recorder(tmp_path, from_step=100).finish()
    assert {"learning-curve.png", "accuracy-curve.png", "samples.webp"} <= pictures(tmp_path).keys()


@pytest.mark.slow
def test_no_part_of_a_picture_is_left(tmp_path: Path) -> None:
    """Pictures replace one another whole: no temporary file outlives a finished run."""
    recorder = Recorder(tmp_path)
    play(recorder, STEPS)
    recorder.finish()
    assert not list(tmp_path.rglob("*.partial"))


@pytest.mark.slow
def test_points_are_drawn_over_the_real_ones(tmp_path: Path) -> None:
    """The backdrop and the region given to the recorder are in the plot of a toy game's samples."""
    points = np.zeros((5, 2), np.float32)
    backdrop = np.random.default_rng(0).normal(0, 0.3, (500, 2))
    plain = Recorder(tmp_path / "plain", region=((-1, -1), (1, 1))).samples(1, points)
    compared = Recorder(tmp_path / "compared", region=((-1, -1), (1, 1)), backdrop=backdrop).samples(1, points)
    with Image.open(plain) as one, Image.open(compared) as other:
        differs = np.any(np.asarray(one) != np.asarray(other), axis=-1)
    assert differs.mean() > 0.02


@pytest.mark.process
def test_drawing_needs_no_pyplot(tmp_path: Path) -> None:
    """A whole report is drawn without pyplot's global state and without a window system."""
    code = (
        "import sys, numpy as np; from pathlib import Path; from training.report import Recorder\n"
        f"r = Recorder(Path({str(tmp_path)!r})); r.log(1, 64, {{'D/loss': 1.0}}); r.samples(1, np.zeros((4, 2), np.float32))\n"
        "r.finish(); assert 'matplotlib.pyplot' not in sys.modules and 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_a_large_sample_is_a_jpeg_in_the_events(tmp_path: Path) -> None:
    """Of its size, and the file of the sample stays a PNG: the checksum of a large event takes a second."""
    recorder = Recorder(tmp_path)
    images = np.random.default_rng(0).integers(0, 256, (64, 64, 64, 3), np.uint8)
    path = recorder.samples(10, images)
    with (
        Image.open(path) as sample,
        Image.open(io.BytesIO(read_events(tmp_path).Images("samples")[0].encoded_image_string)) as event,
    ):
        assert (sample.format, event.format) == ("PNG", "JPEG")
        assert sample.size == event.size


def test_what_precedes_a_checkpoint_is_on_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A loss of power leaves no checkpoint with records missing before it."""
    synced: list[str] = []
    monkeypatch.setattr(os, "fsync", lambda file: synced.append(os.readlink(f"/proc/self/fd/{file}")))
    recorder = Recorder(tmp_path)
    recorder.log(1, 64, {"D/loss": 1.0})
    recorder.sync()
    assert {Path(path).name for path in synced} == {"stats.jsonl", "timings.jsonl", "events.out.tfevents"}


def test_a_bad_line_costs_no_rows_behind_it(tmp_path: Path) -> None:
    """A blank line, one that is no JSON, and rows of a step alone or with a text: the whole rows stay, and the run goes on."""
    play(Recorder(tmp_path), range(10, 51, 10))
    for name in ("stats.jsonl", "timings.jsonl"):
        first, *others = (tmp_path / name).read_bytes().splitlines(keepends=True)
        (tmp_path / name).write_bytes(first + b"\n{no JSON}\n" + b"".join(others[:-1]) + b'{"step": 50, "D/loss": "text"}\n')
    resumed = Recorder(tmp_path, from_step=50)
    resumed.log(60, 3840, {"D/loss": 1.0})
    resumed.finish()
    assert [json.loads(line)["step"] for line in (tmp_path / "stats.jsonl").read_text().splitlines()] == [*range(10, 61, 10)]


def test_files_that_are_deleted_during_a_run_end_no_run(tmp_path: Path) -> None:
    """They begin anew, and so does the folder of the samples."""
    recorder = Recorder(tmp_path)
    play(recorder, range(10, 31, 10))
    for name in ("stats.jsonl", "timings.jsonl", "events.out.tfevents"):
        (tmp_path / name).unlink()
    shutil.rmtree(tmp_path / "samples")
    recorder.sync()
    play(recorder, range(40, 51, 10))
    recorder.finish()
    assert [json.loads(line)["step"] for line in (tmp_path / "stats.jsonl").read_text().splitlines()] == [40, 50]


def test_a_full_disk_names_the_file(tmp_path: Path) -> None:
    """The error of a write has no name of its own."""
    recorder = Recorder(tmp_path)
    for name in ("stats.jsonl", "events.out.tfevents"):
        (tmp_path / name).unlink()
        (tmp_path / name).symlink_to("/dev/full")
        with pytest.raises(OSError, match=rf"No space left on device: '.*{name}'"):
            recorder.log(1, 64, {"D/loss": 1.0})
        (tmp_path / name).unlink()
