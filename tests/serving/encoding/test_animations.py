"""What the moving pictures hold: every frame's very pixels, for as long as they should be shown, as often as was asked."""

from __future__ import annotations

import io
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image as Pictures
from PIL import ImageSequence

from serving.encoding.animations import ANIMATIONS, Animation, animation_fingerprints, durations, there_and_back
from serving.latents.interpolation import between, frame_positions
from serving.model.load import Model

TICK_MS = {"webp": 1, "apng": 1, "gif": 10}


def frames_of(data: bytes) -> list[tuple[Any, float]]:
    """Each stored frame's RGB pixels and milliseconds, by Pillow; a file of one frame has no end."""
    with Pictures.open(io.BytesIO(data)) as picture:
        # an argument list is evaluated in order, and WebP's duration is known once the frame is loaded
        return [(np.asarray(f.convert("RGB")), f.info.get("duration") or np.inf) for f in ImageSequence.Iterator(picture)]


def shown(data: bytes, count: int, fps: int) -> list[Any]:
    """The RGB pixels on the screen in the middle of each of ``count`` frames."""
    frames = frames_of(data)
    ends = np.cumsum([duration for _, duration in frames])
    return [frames[int(np.searchsorted(ends, 1000 * (i + 0.5) / fps))][0] for i in range(count)]


def enlarged(frames: Any, scale: int) -> Any:
    large = np.kron(frames, np.ones((1, scale, scale, 1), np.uint8))
    return np.broadcast_to(large, (*large.shape[:3], 3))


@st.composite
def animations(draw: st.DrawFn, channels: int, colours: int = 256) -> Animation:
    n, height, width = draw(st.tuples(st.integers(2, 6), st.integers(1, 20), st.integers(1, 20)))
    random = np.random.default_rng(draw(st.integers(0, 2**32)))
    frames = random.integers(0, colours, (n, height, width, channels), np.uint8)
    for place in draw(st.lists(st.integers(1, n - 1))):
        frames[place] = frames[place - 1]
    frames[:, : draw(st.integers(0, height))] = 9
    return Animation(frames=frames, fps=draw(st.integers(1, 50)), scale=draw(st.integers(1, 3)), loop=draw(st.integers(0, 3)))


@pytest.mark.parametrize(("name", "channels"), [("webp", 1), ("webp", 3), ("apng", 1), ("apng", 3), ("gif", 1)])
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_every_frame_is_shown_at_its_time_pixel_for_pixel(name: str, channels: int, data: st.DataObject) -> None:
    """In the middle of each frame's time its very pixels are on the screen; in a GIF, those of grey frames."""
    animation = data.draw(animations(channels))
    found = shown(ANIMATIONS[name].encode(animation), len(animation.frames), animation.fps)
    assert np.array_equal(found, enlarged(animation.frames, animation.scale))


@settings(max_examples=60, deadline=None)
@given(animation=animations(3, colours=6))
def test_a_gif_of_few_colours_is_exact(animation: Animation) -> None:
    """A colour frame of up to 256 colours comes back pixel for pixel, for any colours of the other frames."""
    found = shown(ANIMATIONS["gif"].encode(animation), len(animation.frames), animation.fps)
    assert np.array_equal(found, enlarged(animation.frames, animation.scale))


def test_a_gif_of_256_colours_is_exact() -> None:
    """As many colours as a palette has come back as they were, other ones in each frame."""
    colours = np.random.default_rng(7).permutation(2**24)[: 2 * 256].reshape(2, 16, 16, 1)
    frames = (colours >> np.array([16, 8, 0]) & 255).astype(np.uint8)
    assert np.array_equal(shown(ANIMATIONS["gif"].encode(Animation(frames=frames, fps=5)), 2, 5), frames)


def test_a_gif_of_many_colours_is_near() -> None:
    """A smooth frame of thousands of colours is shown in 256, a few levels off on average."""
    y, x = np.mgrid[:64, :64]
    frames = np.stack([np.stack([4 * x, 4 * y, (x + y + 9 * i) % 128], -1) for i in range(3)]).astype(np.uint8)
    found = shown(ANIMATIONS["gif"].encode(Animation(frames=frames, fps=10)), 3, 10)
    assert 0 < np.abs(np.subtract(found, frames, dtype=int)).mean() < 8


@pytest.mark.parametrize("name", ANIMATIONS)
@pytest.mark.parametrize("fps", [1, 7, 24, 30, 50])
def test_it_lasts_as_long_as_its_frames(name: str, fps: int) -> None:
    """All frames together last n/fps seconds, to half a tick of the format's clock."""
    frames = np.arange(36 * 16, dtype=np.uint8).reshape(36, 4, 4, 1)
    lengths = [duration for _, duration in frames_of(ANIMATIONS[name].encode(Animation(frames=frames, fps=fps)))]
    assert len(lengths) == 36
    assert sum(lengths) == pytest.approx(36_000 / fps, abs=TICK_MS[name] / 2 + 1e-6)


@given(count=st.integers(1, 100), fps=st.integers(1, 50), ticks=st.sampled_from([100, 1000]))
def test_no_frame_is_late_by_more_than_half_a_tick(count: int, fps: int, ticks: int) -> None:
    """Each frame begins at the tick nearest to its time and is shown for two ticks or more."""
    found = durations(count, fps, ticks)
    assert min(found) >= 2
    assert np.abs(np.cumsum(found) - np.arange(1, count + 1) * ticks / fps).max() <= 0.5


@pytest.mark.parametrize("name", ANIMATIONS)
@pytest.mark.parametrize("loop", [0, 1, 2, 65535])
def test_it_is_played_as_often_as_asked(name: str, loop: int) -> None:
    """``loop`` is the number of plays, 0 endless; GIF counts repeats, and omits the count for one play."""
    frames = np.arange(2 * 16, dtype=np.uint8).reshape(2, 4, 4, 1)
    with Pictures.open(io.BytesIO(ANIMATIONS[name].encode(Animation(frames=frames, fps=5, loop=loop)))) as picture:
        assert picture.info.get("loop") == (loop if name != "gif" else {0: 0, 1: None, 2: 1, 65535: 65534}[loop])


@pytest.mark.parametrize("name", ["webp", "gif"])
def test_the_longest_side_of_a_format_is_written(name: str) -> None:
    """Frames as high as the format's table allows are written and read."""
    form = ANIMATIONS[name]
    frames = np.arange(2, dtype=np.uint8).repeat(form.max_side).reshape(2, form.max_side, 1, 1)
    assert np.array_equal(shown(form.encode(Animation(frames=frames, fps=5)), 2, 5), enlarged(frames, 1))


def test_there_and_back_has_no_end_twice() -> None:
    """Frames 0 1 2 3 become 0 1 2 3 2 1, after which 0 follows; two frames stay two."""
    assert there_and_back(np.arange(4, dtype=np.uint8)).tolist() == [0, 1, 2, 3, 2, 1]
    assert there_and_back(np.arange(2, dtype=np.uint8)).tolist() == [0, 1]


@pytest.mark.parametrize("name", ["apng", "gif"])
def test_it_says_how_to_make_it_again(name: str) -> None:
    """An APNG's text and a GIF's comment hold what they were given."""
    frames = np.arange(2 * 16, dtype=np.uint8).reshape(2, 4, 4, 1)
    text = '{"from": 1}' + 400 * "x"
    with Pictures.open(io.BytesIO(ANIMATIONS[name].encode(Animation(frames=frames, fps=5, texts={"gan": text})))) as picture:
        assert picture.info["gan" if name == "apng" else "comment"] in (text, text.encode())


def test_an_apng_is_a_still_png_to_those_who_know_no_better() -> None:
    """Without the chunks of the animation the file is the PNG of its first frame."""
    frames = np.arange(3 * 16, dtype=np.uint8).reshape(3, 4, 4, 1)
    data = ANIMATIONS["apng"].encode(Animation(frames=frames, fps=5))
    kept, place = [data[:8]], 8
    while place < len(data):
        stop = place + 12 + int.from_bytes(data[place : place + 4], "big")
        if data[place + 4 : place + 8] not in (b"acTL", b"fcTL", b"fdAT"):
            kept.append(data[place:stop])
        place = stop
    with Pictures.open(io.BytesIO(b"".join(kept))) as picture:
        assert not getattr(picture, "is_animated", False)
        assert np.array_equal(np.asarray(picture), frames[0, :, :, 0])


@pytest.mark.parametrize("name", ["webp", "apng", "gif"])
def test_a_walk_begins_and_ends_with_the_images_of_its_seeds(models: dict[str, Model], name: str) -> None:
    """Of a model's walk the first and the last frame are the images of the two seeds; neighbours differ."""
    model = models["conditional"]
    frames = model.run(between(model.card.latents, 3, 4, frame_positions(8)))
    found = shown(ANIMATIONS[name].encode(Animation(frames=frames, fps=12)), 8, 12)
    assert np.array_equal([found[0], found[-1]], enlarged(model.sample([3, 4]), 1))
    assert all((one != other).any() for one, other in pairwise(found))


def test_fingerprints_name_every_animation() -> None:
    """Each format has a fingerprint of its own, the same each time."""
    found = animation_fingerprints()
    assert found == animation_fingerprints()
    assert list(found) == list(ANIMATIONS)
    assert len(set(found.values())) == len(found)
