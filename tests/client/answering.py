"""A client of ``gan_serve`` whose requests a function answers, without a service."""

from __future__ import annotations

from collections.abc import Callable
from io import BytesIO
from typing import Any

import httpx
import numpy as np

from gan_serve import Client


def npy(rows: np.ndarray) -> httpx.Response:
    """The answer that has these rows."""
    file = BytesIO()
    np.save(file, rows)
    return httpx.Response(200, headers={"ETag": '"x"'}, content=file.getvalue())


def answered(answer: Callable[[httpx.Request], httpx.Response], **options: Any) -> Client:
    """A client whose requests this function answers."""
    client = Client("http://127.0.0.1", **options)
    client.http = httpx.Client(base_url="http://127.0.0.1", transport=httpx.MockTransport(answer))
    return client
