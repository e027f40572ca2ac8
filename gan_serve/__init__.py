"""Samples of a running service as NumPy arrays: ``Client("http://...").image(seed=42, y=3)``, and the same with ``await``."""

import asyncio
import threading
import time
from collections.abc import Generator
from io import BytesIO
from typing import Any

import httpx
import numpy as np
from numpy.typing import NDArray


class ServiceError(Exception):
    """The service refused a request; the message names the status, the wrong value and what would be right."""


class _Requests:
    """What both clients do: wait as ``Retry-After`` says, and keep the latest answers by their ETag; threads may share one."""

    make_http: Any = httpx.Client

    def __init__(self, url: str, *, retries: int = 5, kept: int = 256, timeout_s: float = 60) -> None:
        """``retries`` of a request that is answered with ``Retry-After``, and the number of answers ``kept``."""
        self.http = self.make_http(base_url=url, timeout=timeout_s)
        self._retries, self._limit = retries, kept
        self._kept: dict[httpx.URL, tuple[str, bytes]] = {}
        self._lock = threading.Lock()

    def _rows(self, seed: int, n: int, parameters: dict[str, Any]) -> Generator[httpx.Request | float, Any, NDArray[Any]]:
        """One call: yields requests and seconds to wait, receives responses, returns the array."""
        # Numbers without an exponent, which the service does not read; a float16 as the float32 in which the service computes,
        # since the shortest text of a float16 is another number there.
        given = {
            name: np.format_float_positional(
                np.float32(value) if isinstance(value, np.float16) else value, precision=20, trim="-"
            )
            if isinstance(value, float | np.floating)
            else value
            for name, value in parameters.items()
            if value is not None
        }
        request = self.http.build_request("GET", "/generate", params=dict(seed=seed, n=n, format="npy", **given))
        with self._lock:
            etag, body = self._kept.pop(request.url, ("", b""))
        request.headers.update({"If-None-Match": etag} if etag else {})
        response = yield request
        for _ in range(self._retries):
            if wait := response.headers.get("Retry-After"):
                yield float(wait) if wait.isdecimal() and len(wait) < 6 else 1.0  # a proxy may send a date
                response = yield request
        etag, body = (etag, body) if response.status_code == 304 else (response.headers.get("ETag", ""), response.content)
        try:
            if response.status_code not in (200, 304):
                raise ServiceError(f"{response.status_code}: {response.json()['detail']}")
            with self._lock:  # of np.load, too: it calls ast.literal_eval, which in Python 3.11 fails in some threads
                rows: NDArray[Any] = np.load(BytesIO(body), allow_pickle=False)
                self._kept[request.url] = (etag, body)
                if len(self._kept) > self._limit:
                    del self._kept[next(iter(self._kept))]
        except (ValueError, EOFError, KeyError, TypeError):
            raise ServiceError(f"{response.status_code}: the service does not answer so: {body[:200]!r}") from None
        return rows


class Client(_Requests):
    """A blocking client; ``http.close()`` closes its connections."""

    def image(self, seed: int, **parameters: Any) -> NDArray[Any]:
        """The sample of a seed: uint8 [h,w,c] of a picture. Parameters are those of the query of /generate.

        One that is None is left out; there is no ``format``, as the answer is an array.

        Raises:
            ServiceError: the service refuses the request. httpx.TransportError: it cannot be reached.
        """
        return self.images(seed, 1, **parameters)[0]  # type: ignore[no-any-return]

    def images(self, seed: int, n: int, **parameters: Any) -> NDArray[Any]:
        """The samples of n seeds from ``seed`` on: uint8 [n,h,w,c] of pictures."""
        rows, answer = self._rows(seed, n, parameters), None
        try:
            while True:
                step = rows.send(answer)
                answer = self.http.send(step) if isinstance(step, httpx.Request) else time.sleep(step)  # type: ignore[func-returns-value]
        except StopIteration as done:
            return done.value  # type: ignore[no-any-return]


class AsyncClient(_Requests):
    """The same for an event loop; ``await http.aclose()`` closes its connections."""

    make_http = httpx.AsyncClient

    async def image(self, seed: int, **parameters: Any) -> NDArray[Any]:
        """As ``Client.image``."""
        return (await self.images(seed, 1, **parameters))[0]  # type: ignore[no-any-return]

    async def images(self, seed: int, n: int, **parameters: Any) -> NDArray[Any]:
        """As ``Client.images``."""
        rows, answer = self._rows(seed, n, parameters), None
        try:
            while True:
                step = rows.send(answer)
                answer = await (asyncio.sleep(step) if isinstance(step, float) else self.http.send(step))
        except StopIteration as done:
            return done.value  # type: ignore[no-any-return]
