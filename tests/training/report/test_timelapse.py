from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageSequence

from training.report import timelapse
from training.report.timelapse import CAPTION_PX, LAST_FRAME_MS, MOST_FRAMES, encode_timelapse, thin


def write_frames(folder: Path, count: int, size: int = 24, *, noise: bool = True) -> list[tuple[int, Path]]:
    frames = []
    for index in range(count):
        path = folder / f"{index}.png"
        pixels = (
            np.random.default_rng(index).integers(0, 256, (size, size), np.uint8) if noise else np.full((size, size), index)
        )
        Image.fromarray(pixels.astype(np.uint8)).save(path)
        frames.append((index * 100, path))
    return frames


def pixels_of(path: Path) -> np.ndarray:
    with Image.open(path) as picture:
        return np.asarray(picture)


def read(content: bytes) -> tuple[list[np.ndarray], list[int]]:
    """The frames [h,w,3] and how long each stays, in milliseconds."""
    with Image.open(io.BytesIO(content)) as movie:
        shown = [(np.asarray(frame.convert("RGB")), int(frame.info["duration"])) for frame in ImageSequence.Iterator(movie)]
    return [pixels for pixels, _ in shown], [duration for _, duration in shown]


def test_frames_are_the_samples_in_order(tmp_path: Path) -> None:
    """Above its caption each frame of a small time-lapse is its sample, pixel by pixel."""
    samples = write_frames(tmp_path, 7)
    frames, _ = read(encode_timelapse(samples))
    assert len(frames) == 7
    for frame, (_, path) in zip(frames, samples, strict=True):
        np.testing.assert_array_equal(frame[:-CAPTION_PX, :, 0], pixels_of(path))


def test_the_last_frame_is_held(tmp_path: Path) -> None:
    """All frames stay equally long but for the last, which stays long enough to be looked at."""
    _, durations = read(encode_timelapse(write_frames(tmp_path, 30)))
    assert len(set(durations[:-1])) == 1
    assert durations[-1] == LAST_FRAME_MS > 4 * durations[0]


def test_a_long_run_is_thinned_evenly(tmp_path: Path) -> None:
    """Of many samples at most 120 are shown, the first and the last among them."""
    samples = write_frames(tmp_path, 250)
    frames, _ = read(encode_timelapse(samples))
    assert len(frames) == MOST_FRAMES
    for frame, (_, path) in ((frames[0], samples[0]), (frames[-1], samples[-1])):
        np.testing.assert_array_equal(frame[:-CAPTION_PX, :, 0], pixels_of(path))


@pytest.mark.parametrize(("count", "most"), [(1, 5), (5, 5), (6, 5), (1000, 120), (121, 120)])
def test_thinning_keeps_order_ends_and_even_gaps(count: int, most: int) -> None:
    """What is kept rises from the first to the last in steps that differ by one at most."""
    kept = thin(range(count), most)
    assert len(kept) == min(count, most)
    assert (kept[0], kept[-1]) == (0, count - 1)
    gaps = set(np.diff(kept).tolist())
    assert not gaps or max(gaps) - min(gaps) <= 1


def test_one_sample_is_a_time_lapse_of_one_frame(tmp_path: Path) -> None:
    """A run with a single sample, at step 0, has a time-lapse all the same."""
    frames, _ = read(encode_timelapse(write_frames(tmp_path, 1)))
    assert len(frames) == 1


def test_a_large_noisy_run_stays_small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Frames that do not compress are shown with loss, and fewer of them, within the limit of 4 MB (here of 200 kB)."""
    monkeypatch.setattr(timelapse, "MOST_BYTES", 200_000)
    content = encode_timelapse(write_frames(tmp_path, 60, 100))
    frames, _ = read(content)
    assert len(content) <= 200_000
    assert timelapse.LEAST_FRAMES < len(frames) < 60


def test_the_same_samples_give_the_same_bytes(tmp_path: Path) -> None:
    """A time-lapse is a function of its samples."""
    samples = write_frames(tmp_path, 5)
    assert encode_timelapse(samples) == encode_timelapse(samples)


def test_the_caption_says_how_far_the_training_was(tmp_path: Path) -> None:
    """The bar under the pictures grows from nothing to the full width."""
    frames, _ = read(encode_timelapse(write_frames(tmp_path, 5, noise=False)))
    lengths = [int((frame[-1, :, 2] > 150).sum()) for frame in frames]
    assert lengths == sorted(lengths)
    assert lengths[0] <= 1
    assert lengths[-1] == 24


def test_large_pictures_are_made_smaller(tmp_path: Path) -> None:
    """120 frames of a grid of 2048x2048 took gigabytes; the proportions stay."""
    path = tmp_path / "0.png"
    Image.fromarray(np.full((1200, 2400), 200, np.uint8)).save(path)
    (frame,), _ = read(encode_timelapse([(0, path)]))
    height, width = frame.shape[0] - CAPTION_PX, frame.shape[1]
    assert height * width <= 1.01 * timelapse.MOST_PIXELS
    assert width == pytest.approx(2 * height, abs=2)
    assert frame[: height - 1].mean() == pytest.approx(200, abs=2)
