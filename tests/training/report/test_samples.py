from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from training.report.pictures import png_bytes
from training.report.samples import GAP_LEVEL, GAP_PX, GRID_PX, POINTS_PX, count_columns, draw_samples


def random_images(count: int, height: int, width: int, channels: int) -> np.ndarray:
    return np.random.default_rng(count).integers(0, 256, (count, height, width, channels), np.uint8)


def is_blue(picture: Image.Image) -> np.ndarray:
    """Where the picture [h,w] is bluer than red by far: the colour of generated points."""
    pixels = np.asarray(picture).astype(int)
    claim: np.ndarray = pixels[..., 2] - pixels[..., 0] > 60
    return claim


@pytest.mark.parametrize(
    ("count", "height", "width", "channels"),
    [(1, 8, 8, 1), (13, 8, 8, 1), (64, 28, 28, 1), (100, 28, 28, 1), (64, 64, 64, 3), (6, 300, 200, 3), (40, 32, 32, 3)],
)
def test_a_grid_holds_the_images_pixel_by_pixel(count: int, height: int, width: int, channels: int) -> None:
    """Each tile of a grid, shrunk by the whole factor that enlarged it, is its image exactly."""
    images = random_images(count, height, width, channels)
    sheet = np.asarray(draw_samples(images)).reshape(*draw_samples(images).size[::-1], channels)
    columns = count_columns(count)
    scale = (sheet.shape[1] + GAP_PX) // columns // width
    for index, image in enumerate(images):
        top = index // columns * (height * scale + GAP_PX)
        left = index % columns * (width * scale + GAP_PX)
        tile = sheet[top : top + height * scale, left : left + width * scale]
        np.testing.assert_array_equal(tile, image.repeat(scale, 0).repeat(scale, 1))


def test_a_small_image_is_enlarged_and_a_big_one_is_not() -> None:
    """The factor is the greatest that keeps a grid within its size, and at least one."""
    assert GRID_PX / 2 < draw_samples(random_images(64, 8, 8, 1)).width <= GRID_PX + 7 * GAP_PX
    assert draw_samples(random_images(4, 600, 600, 3)).size == (1200 + GAP_PX, 1200 + GAP_PX)


def test_places_without_an_image_are_grey() -> None:
    """The last row of a grid that is not full ends in the colour of the gaps."""
    assert draw_samples(random_images(13, 8, 8, 1)).getpixel((500, 700)) == GAP_LEVEL


@pytest.mark.parametrize(
    ("count", "columns"), [(1, 1), (2, 2), (3, 2), (9, 3), (20, 5), (40, 8), (50, 10), (64, 8), (100, 10), (13, 4)]
)
def test_a_grid_is_squarish(count: int, columns: int) -> None:
    """A grid has no hole where a shape at most twice as wide as high allows it, and is the squarest else."""
    assert count_columns(count) == columns


def test_the_same_samples_give_the_same_bytes() -> None:
    """A picture is a function of its samples, images and points alike."""
    points = np.random.default_rng(0).normal(0, 1, (200, 2)).astype(np.float32)
    for outputs in (random_images(9, 8, 8, 3), points, points[:, :1]):
        assert png_bytes(draw_samples(outputs)) == png_bytes(draw_samples(outputs))


@pytest.mark.parametrize("size", [1, 2, 5])
def test_points_of_any_size_are_drawn(size: int) -> None:
    """One component gives a histogram, two a scatter plot, more a bundle of curves; all in one size of picture."""
    points = np.random.default_rng(0).normal(0, 1, (200, size)).astype(np.float32)
    picture = draw_samples(points, backdrop=points + 1)
    assert picture.size == (POINTS_PX, POINTS_PX)
    assert is_blue(picture).sum() > 300


def test_a_scatter_plot_shows_points_where_they_are() -> None:
    """In the region [0,1]^2 points near (1,1) are at the top right and nowhere else."""
    points = np.random.default_rng(0).uniform(0.9, 1, (50, 2)).astype(np.float32)
    blue = is_blue(draw_samples(points, region=((0, 0), (1, 1))))[60:]
    rows, columns = np.nonzero(blue)
    assert rows.max() < 200
    assert columns.min() > 480


@pytest.mark.parametrize(
    "points",
    [np.full((8, 2), np.nan), np.full((8, 2), 3.0), np.full((8, 1), 3.0), np.full((8, 1), np.inf), np.full((8, 2), 1e30)],
)
def test_collapsed_or_diverged_points_are_drawn_too(points: np.ndarray) -> None:
    """A generator that has collapsed or diverged still gets its picture, with or without a region."""
    low, high = (0.0,) * points.shape[1], (1.0,) * points.shape[1]
    assert draw_samples(points.astype(np.float32)).size == (POINTS_PX, POINTS_PX)
    assert draw_samples(points.astype(np.float32), region=(low, high)).size == (POINTS_PX, POINTS_PX)


@pytest.mark.parametrize(
    ("outputs", "said"),
    [
        (np.zeros((4, 12), np.int32), r"int32 \[4, 12\]"),
        (np.zeros((4, 8, 8), np.uint8), r"uint8 \[4, 8, 8\]"),
        (np.zeros((4, 8, 8, 2), np.uint8), r"uint8 \[4, 8, 8, 2\]"),
        (np.zeros((0, 2), np.float32), r"float32 \[0, 2\]"),
    ],
)
def test_what_is_none_of_the_kinds_is_refused(outputs: np.ndarray, said: str) -> None:
    """The error names the type and the shape that came, and those that are right."""
    with pytest.raises(ValueError, match=rf"uint8 \[n,h,w,1\|3\], float \[n,k\] or int64 \[n,t\] .*got {said}"):
        draw_samples(outputs)


@pytest.mark.slow
def test_sequences_are_rows_of_colours_next_to_real_ones() -> None:
    """Equal tokens have one colour: a picture of constant sequences has fewer colours than one of many tokens."""
    many = np.arange(60, dtype=np.int64).reshape(6, 10)
    pictures = (np.asarray(draw_samples(tokens, backdrop=many)) for tokens in (many[::-1], many * 0))
    varied, constant = (len(np.unique(picture.reshape(-1, 3), axis=0)) for picture in pictures)
    assert varied > constant
    assert draw_samples(many).size == (POINTS_PX, POINTS_PX)


@pytest.mark.parametrize("scale", [1e-4, 1.0, 1e5])
@pytest.mark.parametrize("columns", [1, 2, 5])
def test_nothing_of_a_plot_of_points_is_cut(columns: int, scale: float) -> None:
    """The outermost pixels are white for all numbers on the axes."""
    points = scale * np.random.default_rng(0).normal(size=(200, columns))
    pixels = np.asarray(draw_samples(points, backdrop=points[::-1] * 0.9))
    assert all((edge == 255).all() for edge in (pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]))
