"""Image files of every kind give the right pixels, by references that are computed here and not by Pillow."""

import io
import struct
import zlib
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageCms

from training.data.pixels import fit_grey, prepare

Pixels = NDArray[Any]

RAMP = np.arange(0, 256, dtype=np.uint8).reshape(16, 16)
COLOURS = np.random.RandomState(3).randint(0, 256, (16, 16, 3)).astype(np.uint8)
ALPHA = np.random.RandomState(4).randint(0, 256, (16, 16)).astype(np.uint8)


def png(rows: Pixels, colour_type: int, *chunks: tuple[bytes, bytes]) -> bytes:
    """A PNG of 8 or 16 bits a channel by the values' type, written out by hand: Pillow cannot write colours of 16 bits."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    height, width = rows.shape[:2]
    header = struct.pack(">IIBBBBB", width, height, 8 * rows.itemsize, colour_type, 0, 0, 0)
    packed = b"".join(b"\0" + row.astype(row.dtype.newbyteorder(">")).tobytes() for row in rows)
    parts = ((b"IHDR", header), *chunks, (b"IDAT", zlib.compress(packed)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(kind, data) for kind, data in parts)


def saved(image: Image.Image, kind: str, **options: Any) -> bytes:
    """The image as a file of that kind."""
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def decoded(content: bytes) -> Pixels:
    """The file's pixels [H,W,3] as training sees them."""
    with Image.open(io.BytesIO(content)) as image:
        return np.asarray(prepare(image, min(image.size)))


def grey(values: Pixels) -> Pixels:
    """Grey values [H,W] as RGB."""
    return np.stack([values] * 3, axis=2)


def over_white(colours: Pixels, alpha: Pixels) -> Pixels:
    """Colours [H,W,3] with their alpha [H,W] over white."""
    share = alpha[:, :, None] / 255
    return colours * share + 255 * (1 - share)


DEEP = RAMP.astype(np.uint16) * 256 + RAMP[::-1]
DEEP_COLOURS = COLOURS.astype(np.uint16) * 256 + COLOURS[::-1]
PALETTE = np.random.RandomState(5).randint(0, 256, (256, 3)).astype(np.uint8)


def palette_image() -> Image.Image:
    """A palette image whose index at each pixel is RAMP."""
    image = Image.fromarray(RAMP)
    image.putpalette(PALETTE.tobytes())
    return image


def cmyk_image() -> Image.Image:
    """An image of three inks and black, each flat over 8 x 8 pixels, so that JPEG keeps it."""
    inks = np.random.RandomState(6).randint(0, 256, (2, 2, 4)).astype(np.uint8)
    return Image.fromarray(np.kron(inks, np.ones((8, 8, 1), np.uint8)), "CMYK")


def from_inks(inks: Pixels) -> Pixels:
    """RGB of inks [H,W,4], 255 being full ink: what each ink and the black let through."""
    return (255.0 - inks[:, :, :3]) * (255.0 - inks[:, :, 3:]) / 255


def transparent_palette() -> bytes:
    """A palette image whose first 100 colours are transparent by halves."""
    return saved(palette_image(), "PNG", transparency=bytes([128] * 100))


EXACT: dict[str, tuple[Callable[[], bytes], Pixels]] = {
    "grey": (lambda: saved(Image.fromarray(RAMP), "PNG"), grey(RAMP)),
    "colour": (lambda: saved(Image.fromarray(COLOURS), "PNG"), COLOURS),
    "1 bit": (lambda: saved(Image.fromarray(RAMP > 127), "PNG"), grey(np.where(RAMP > 127, 255, 0))),
    "1 bit TIFF": (lambda: saved(Image.fromarray(RAMP > 127), "TIFF"), grey(np.where(RAMP > 127, 255, 0))),
    "palette": (lambda: saved(palette_image(), "PNG"), PALETTE[RAMP]),
    "BMP": (lambda: saved(Image.fromarray(COLOURS), "BMP"), COLOURS),
    "lossless WebP": (lambda: saved(Image.fromarray(COLOURS), "WEBP", lossless=True), COLOURS),
    "16-bit grey PNG": (lambda: png(DEEP, 0), grey(DEEP >> 8)),
    "16-bit grey TIFF": (lambda: saved(Image.fromarray(DEEP), "TIFF"), grey(DEEP >> 8)),
    "16-bit grey PGM": (lambda: b"P5 16 16 65535\n" + DEEP.astype(">u2").tobytes(), grey(DEEP >> 8)),
    "16-bit colour PNG": (lambda: png(DEEP_COLOURS, 2), DEEP_COLOURS >> 8),
    "16-bit grey, one value transparent": (
        lambda: png(DEEP, 0, (b"tRNS", struct.pack(">H", DEEP[2, 3]))),
        grey(np.where(DEEP[2, 3] == DEEP, 255, DEEP >> 8)),
    ),
    "grey, one value transparent": (
        lambda: png(RAMP, 0, (b"tRNS", struct.pack(">H", 7))),
        grey(np.where(RAMP == 7, 255, RAMP)),
    ),
    "inks TIFF": (lambda: saved(cmyk_image(), "TIFF"), from_inks(np.asarray(cmyk_image()))),
    "inks JPEG": (lambda: saved(cmyk_image(), "JPEG", quality=100), from_inks(np.asarray(cmyk_image()))),
    "grey and alpha": (lambda: saved(Image.fromarray(np.dstack((RAMP, ALPHA)), "LA"), "PNG"), over_white(grey(RAMP), ALPHA)),
    "colour and alpha": (lambda: saved(Image.fromarray(np.dstack((COLOURS, ALPHA))), "PNG"), over_white(COLOURS, ALPHA)),
    "16-bit colour and alpha": (lambda: png(np.dstack((DEEP_COLOURS, DEEP)), 6), over_white(DEEP_COLOURS >> 8, DEEP >> 8)),
    "palette and alpha": (transparent_palette, over_white(PALETTE[RAMP], np.where(RAMP < 100, 128, 255))),
}


@pytest.mark.parametrize("kind", EXACT)
def test_every_kind_of_file_gives_its_pixels(kind: str) -> None:
    """For every image format and mode the pixels are the reference's, to the one level of rounding."""
    make, expected = EXACT[kind]
    pixels = decoded(make())
    assert pixels.shape == expected.shape
    assert np.abs(pixels - expected.astype(np.float64)).max() <= 1


def test_16_bits_keep_their_256_levels() -> None:
    """Grey of 16 bits is scaled, not clipped: all 256 levels are still there, exact in grey as in colour."""
    assert np.array_equal(decoded(png(DEEP, 0)), grey(RAMP))
    assert np.array_equal(decoded(png(np.dstack([DEEP] * 3), 2)), grey(RAMP))


def test_inks_in_jpeg_are_read_by_adobes_convention() -> None:
    """A CMYK JPEG stores what each ink leaves of the paper, 0 being full ink, whether Adobe's mark stands in it or not."""
    marked = saved(cmyk_image(), "JPEG", quality=100)
    start = marked.index(b"\xff\xee")
    unmarked = marked[:start] + marked[start + 2 + struct.unpack_from(">H", marked, start + 2)[0] :]
    assert (b"Adobe" in marked, b"Adobe" in unmarked) == (True, False)
    for content in (marked, unmarked):
        assert np.abs(decoded(content) - from_inks(np.asarray(cmyk_image()))).max() <= 1


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "JPEG"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_says_which_way_is_up(kind: str, orientation: int) -> None:
    """Each of EXIF's eight orientations gives the picture upright."""
    upright = np.kron(np.arange(4).reshape(2, 2) * 80, np.ones((8, 8))).astype(np.uint8)
    undo: dict[int, Callable[[Pixels], Pixels]] = {
        1: lambda a: a,
        2: np.fliplr,
        3: lambda a: np.rot90(a, 2),
        4: np.flipud,
        5: np.transpose,
        6: lambda a: np.rot90(a, 1),
        7: lambda a: np.rot90(a, 2).T,
        8: lambda a: np.rot90(a, -1),
    }
    image = Image.fromarray(np.ascontiguousarray(undo[orientation](upright)))
    exif = image.getexif()
    exif[0x0112] = orientation
    pixels = decoded(saved(image, kind, exif=exif, **({"quality": 100} if kind == "JPEG" else {})))
    assert np.abs(pixels.astype(int) - grey(upright)).max() <= 1


def test_of_an_animation_the_first_frame_is_taken() -> None:
    """An animated GIF gives its first frame."""
    frames = [Image.fromarray(np.full((16, 16), level, np.uint8)) for level in (40, 200)]
    assert (decoded(saved(frames[0], "GIF", save_all=True, append_images=frames[1:])) == 40).all()


def swapped_profile() -> bytes:
    """A profile of sRGB whose red and green primaries are exchanged."""
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    return profile.replace(b"rXYZ", b"....").replace(b"gXYZ", b"rXYZ").replace(b"....", b"gXYZ")


def test_an_embedded_profile_is_applied() -> None:
    """Colours come to sRGB by the file's ICC profile: one whose red is green exchanges the channels."""
    pixels = decoded(saved(Image.fromarray(COLOURS), "PNG", icc_profile=swapped_profile()))
    assert np.abs(pixels.astype(int) - COLOURS[:, :, [1, 0, 2]]).max() <= 1


@pytest.mark.parametrize("profile", [b"no profile", swapped_profile()[:200]], ids=["garbage", "cut short"])
def test_a_broken_profile_changes_nothing(profile: bytes) -> None:
    """An ICC profile that cannot be applied is passed over."""
    assert np.array_equal(decoded(saved(Image.fromarray(COLOURS), "PNG", icc_profile=profile)), COLOURS)


def test_grey_keeps_its_pixels_whatever_its_profile() -> None:
    """A profile on a grey image, of grey or of colours, leaves it as it is."""
    assert np.array_equal(decoded(saved(Image.fromarray(RAMP), "PNG", icc_profile=swapped_profile())), grey(RAMP))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (saved(Image.fromarray(np.ones((16, 16), np.float32)), "TIFF"), "32 bits"),
        (saved(Image.fromarray(np.ones((16, 16), np.int32)), "TIFF"), "32 bits"),
        (png(DEEP_COLOURS, 2, (b"tRNS", struct.pack(">3H", 999, 0, 0))), "transparent colour has 16 bits"),
    ],
    ids=["float", "int", "16-bit colour key"],
)
def test_what_cannot_be_told_is_refused(content: bytes, message: str) -> None:
    """Pixels without a defined white, and a transparent colour finer than the pixels, are refused and not guessed."""
    with pytest.raises(ValueError, match=message):
        decoded(content)


@pytest.mark.parametrize("shape", [(20, 40), (40, 20), (20, 41), (41, 20)])
def test_the_middle_square_is_kept(shape: tuple[int, int]) -> None:
    """What lies outside the middle square of the shorter side has no say in the result."""
    image = np.zeros((*shape, 3), np.uint8)
    top, left = ((side - 20) // 2 for side in shape)
    image[top : top + 20, left : left + 20] = COLOURS[0, 0]
    for size in (20, 10, 33):
        assert (np.asarray(prepare(Image.fromarray(image), size)) == COLOURS[0, 0]).all()


def test_shrinking_averages() -> None:
    """Made smaller, a checkerboard of single pixels becomes its mean grey: no pixel is skipped."""
    board = (np.indices((64, 64)).sum(0) % 2 * 255).astype(np.uint8)
    assert np.abs(np.asarray(prepare(Image.fromarray(board), 16)).astype(int) - 128)[2:-2, 2:-2].max() <= 2


def test_one_pixel_fills_the_square() -> None:
    """A 1 x 1 image is right, and gives one colour."""
    assert (np.asarray(prepare(Image.fromarray(COLOURS[:1, :1]), 8)) == COLOURS[0, 0]).all()


@pytest.mark.parametrize(("size", "before", "after"), [(16, 0, 0), (17, 0, 1), (18, 1, 1), (20, 2, 2)])
def test_small_grey_squares_grow_by_a_border(size: int, before: int, after: int) -> None:
    """Up to 4 pixels more are a black border, of an odd number the lower right one wider."""
    grown = fit_grey(RAMP[None], size)
    assert np.array_equal(grown[0], np.pad(RAMP, ((before, after), (before, after))))


def test_small_grey_squares_else_resample() -> None:
    """Beyond that, and below, they are resampled as any image."""
    for size in (8, 21, 64):
        assert np.array_equal(grey(fit_grey(RAMP[None], size)[0]), np.asarray(prepare(Image.fromarray(RAMP), size)))
