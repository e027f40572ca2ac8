"""What every contender serves: the PNG of a seed, from the model file that BENCH_MODEL names, as a user would write it."""

from __future__ import annotations

import io
import os
from collections.abc import Sequence

import onnxruntime
from numpy.typing import NDArray
from PIL import Image

from contract import card_from_metadata, draw


class Generator:
    """One onnxruntime session of one thread, since a server's workers are as many as the cores."""

    def __init__(self) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        self.session = onnxruntime.InferenceSession(os.environ["BENCH_MODEL"], options, providers=["CPUExecutionProvider"])
        self.latents = card_from_metadata(self.session.get_modelmeta().custom_metadata_map).latents

    def rows(self, seeds: Sequence[int]) -> NDArray:
        """The images of seeds, uint8 [n, height, width, channels], by one inference."""
        images: NDArray = self.session.run(None, draw(self.latents, seeds))[0]
        return images

    def pngs(self, seeds: Sequence[int]) -> list[bytes]:
        """The images of seeds as files, by Pillow as it is."""
        return [write_png(pixels) for pixels in self.rows(seeds)]


def write_png(pixels: NDArray) -> bytes:
    """A file of uint8 [height, width, channels]."""
    file = io.BytesIO()
    Image.fromarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels).save(file, "PNG")
    return file.getvalue()
