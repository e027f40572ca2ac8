"""What a contender answers: asked once, and held against what the model gives for the seed."""

from __future__ import annotations

import base64
import io
import json
from http.client import HTTPConnection, HTTPException

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from benchmarks.serving.contender import Contender
from serving.encoding.png import SIGNATURE

TIMEOUT = 30
TOLERANCE = 1
"""Grey levels: a contender may hold another onnxruntime."""


class AnswerError(Exception):
    """The answer is not what was asked for; the message says what it is."""


def ask(contender: Contender, port: int, seed: int) -> bytes:
    """The PNG of a seed.

    Raises:
        OSError: no server listens or speaks HTTP there yet.
        AnswerError: another status than 200, or no PNG.
    """
    connection = HTTPConnection("127.0.0.1", port, timeout=TIMEOUT)
    try:
        if contender.body:
            media_type, before, after = contender.body
            connection.request("POST", contender.path, f"{before}{seed}{after}", {"Content-Type": media_type})
        else:
            connection.request("GET", f"{contender.path}{seed}")
        response = connection.getresponse()
        status, content = response.status, response.read()
    except HTTPException as error:
        raise ConnectionError(repr(error)) from None
    finally:
        connection.close()
    if status != 200:
        raise AnswerError(f"status {status}: {content[:200]!r}")
    return find_png(content)


def find_png(content: bytes) -> bytes:
    """The PNG in a body: all of it, behind Triton's JSON header, or base64 in a JSON tensor of the V2 protocol."""
    if SIGNATURE in content:
        return content[content.index(SIGNATURE) :]
    try:
        return base64.b64decode(json.loads(content)["outputs"][0]["data"][0])
    except (ValueError, LookupError, TypeError):
        raise AnswerError(f"no PNG in {content[:200]!r}") from None


def check(contender: Contender, png: bytes, expected: NDArray[np.uint8]) -> None:
    """Compare a PNG with a model's row, uint8 [height, width, channels]; of a limit only the size.

    Raises:
        AnswerError: it is no PNG, or has another size or other pixels.
    """
    try:
        with Image.open(io.BytesIO(png)) as picture:
            pixels = np.asarray(picture).reshape(picture.height, picture.width, -1)
    except (OSError, SyntaxError) as error:
        raise AnswerError(f"not a PNG: {error}") from None
    if pixels.shape != expected.shape:
        raise AnswerError(f"the picture must be {expected.shape}, got {pixels.shape}")
    worst = int(np.abs(pixels.astype(int) - expected).max())
    if contender.role != "limit" and worst > TOLERANCE:
        raise AnswerError(f"pixels differ from the model's by {worst} grey levels, allowed is {TOLERANCE}")
