"""Pixels as training wants them: 8 bits, RGB, upright, square, of one size.

The rule by which every image comes to its size: what lies outside the middle square of the shorter side is cut away (of an odd
remainder the right or lower edge loses the one pixel more), then Lanczos to size x size. The sets of small grey squares (mnist
and its kin) grow by up to 4 pixels with a black border in place of resampling, so that 28 becomes 32 with the digits untouched.
"""

from __future__ import annotations

import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms, ImageOps
from torch import Tensor

from training.data.dataset import Pixels

BACKGROUND = (255, 255, 255)
"""What shows through transparent pixels: white, as on paper."""


def to_range(levels: Tensor, pixels: Pixels) -> Tensor:
    """Grey levels 0..255 in the range of the nets, float32: 0..1 for ``unit``, else -1..1."""
    return levels.float() / 255 if pixels == "unit" else levels.float() / 127.5 - 1


def to_levels(x: Tensor, pixels: Pixels) -> Tensor:
    """The nets' pixels as grey levels in 0..255, not rounded."""
    return x * 255 if pixels == "unit" else x * 127.5 + 127.5


def to_unit(x: Tensor, pixels: Pixels) -> Tensor:
    """The nets' pixels in 0..1."""
    return x if pixels == "unit" else (x + 1) / 2


def fit(image: Image.Image, size: int) -> Image.Image:
    """The image's middle square at size x size."""
    side = min(image.size)
    left, top = (image.width - side) // 2, (image.height - side) // 2
    square = image if image.width == image.height else image.crop((left, top, left + side, top + side))
    return square if side == size else square.resize((size, size), Image.Resampling.LANCZOS)


def fit_grey(images: NDArray[np.uint8], size: int | None) -> NDArray[np.uint8]:
    """Grey squares [N,H,W] at size x size; padded with 0 where that is 1 to 4 more than they have."""
    side = images.shape[1]
    if size is None or size == side:
        return images
    if side < size <= side + 4:
        before = (size - side) // 2
        border = (before, size - side - before)
        return np.pad(images, ((0, 0), border, border))
    resized = np.empty((len(images), size, size), np.uint8)
    for row, image in zip(resized, images, strict=True):
        row[:] = np.asarray(fit(Image.fromarray(image), size))
    return resized


def prepare(image: Image.Image, size: int) -> Image.Image:
    """The image at size x size in RGB, 8 bits, upright as its EXIF says, in sRGB, its transparent parts over BACKGROUND.

    Of 16 bits the upper 8 are kept, in colour and in grey alike. Of an animation it is the frame that stands open. CMYK in
    JPEG is read by Adobe's convention. An embedded ICC profile is applied to colours; grey is left as it is, and so are
    colours whose profile is broken.

    Raises:
        ValueError: pixels of 32 bits without a defined white, or a transparent colour that 8 bits cannot tell.
    """
    if image.mode == "F" or (image.mode == "I" and image.format not in ("PPM", "PNG")):
        raise ValueError("its pixels have 32 bits, must be 8 or 16")
    key = image.info.get("transparency")
    if image.mode == "RGB" and isinstance(key, tuple) and max(key) > 255:
        raise ValueError("its transparent colour has 16 bits, must be 8, or an alpha channel")
    profile = image.info.get("icc_profile")
    image = _upper_8_bits(ImageOps.exif_transpose(image))
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, BACKGROUND), image).convert("RGB")
    elif image.mode != "CMYK":
        image = image.convert("L" if image.mode in ("1", "L") else "RGB")
    image = fit(image, size)
    return _to_srgb(image, profile) if profile and image.mode != "L" else image.convert("RGB")


def _upper_8_bits(image: Image.Image) -> Image.Image:
    """Grey of 16 bits at 8; every other mode as it is. Pillow's own convert() would clip 16 bits at 255."""
    if not image.mode.startswith("I"):
        return image
    deep = np.asarray(image)
    grey = Image.fromarray((deep >> 8).astype(np.uint8))
    if "transparency" in image.info:
        grey.putalpha(Image.fromarray(np.where(deep == image.info["transparency"], 0, 255).astype(np.uint8)))
    return grey


def _to_srgb(image: Image.Image, profile: bytes) -> Image.Image:
    """RGB or CMYK by its embedded ICC profile in sRGB; as if it had none where LittleCMS cannot apply the profile."""
    try:
        source, target = ImageCms.ImageCmsProfile(io.BytesIO(profile)), ImageCms.createProfile("sRGB")
        converted = ImageCms.profileToProfile(image, source, target, outputMode="RGB")
    except (ImageCms.PyCMSError, OSError):
        converted = None
    return converted or image.convert("RGB")
