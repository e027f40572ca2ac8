"""Samples of a running service as NumPy arrays: ``Client("http://...").image(seed=42, y=3)``, and the same with ``await``."""

import asyncio
import re
import time
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from functools import lru_cache
from typing import Any

import httpx
import numpy as np

# How the service begins a file of ``%d`` rows. ``np.load`` also reads zip files and literals, with errors of many types.
_NPY = (
    rb"\A\x93NUMPY\x01\x00[\s\S]{2}\{'descr': '([|<>][uif][1248])', 'fortran_order': False, "
    rb"'shape': \(%d, ([1-9]\d{0,8}(?:, [1-9]\d{0,8})*)\), \} *\n"
)


class ServiceError(Exception):
    """The service refused a request, or answered with something else than the rows that were asked for.

    The message names the status, and the wrong value and what would be right, or the begin of the answer.
    """


class _Requests:
    """What both clients do: wait as ``Retry-After`` says, and keep the latest answers by their ETag; threads may share one."""

    make_http: Any = httpx.Client

    def __init__(self, url: str, *, retries: int = 5, kept: int = 256, timeout_s: float = 60) -> None:
        """``retries`` of a request that is refused with ``Retry-After``, and the number of answers ``kept``.

        ``timeout_s`` limits each wait: for a connection, for a part of the answer, and between two tries.
        """
        self.http = self.make_http(base_url=url, timeout=timeout_s)
        self._retries, self._timeout = retries, timeout_s
        self._kept = lru_cache(kept)(lambda url: [("", b"")])  # for each URL a list of one ETag with its body

    async def _do(self, step: httpx.Request | float) -> Any:
        """Send a request, or wait these seconds; the blocking client does so without a pause of the coroutine."""
        return self.http.send(step) if isinstance(step, httpx.Request) else time.sleep(step)

    async def images(self, seed: int, n: int, **parameters: Any) -> np.ndarray:
        """The samples of n seeds from ``seed`` on: uint8 [n,h,w,c] of pictures."""
        if (other := parameters.get("format")) is not None:
            raise TypeError(f"leave 'format' out, got {other!r}: the answer is an array; for a file, GET /generate?format=png")
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
        [(etag, body)] = kept = self._kept(request.url)  # one pair, which another thread may replace meanwhile
        request.headers.update({"If-None-Match": etag} if etag else {})
        try:
            response = await self._do(request)
            for _ in range(self._retries):
                if response.status_code >= 400 and (wait := response.headers.get("Retry-After")):
                    await self._do(min(float(wait) if wait.isdecimal() else 1.0, self._timeout))  # a proxy may send a date
                    response = await self._do(request)
        except httpx.DecodingError as error:
            raise ServiceError(f"the service's answer cannot be decoded: {error}") from None
        etag, body = (etag, body) if response.status_code == 304 else (response.headers.get("ETag", ""), response.content)
        try:
            if response.status_code not in (200, 304):
                raise ServiceError(f"{response.status_code}: {response.json()['detail']}")
            _, dtype, sizes, data = re.split(_NPY % n, body, maxsplit=1)
            rows = np.frombuffer(data, dtype.decode()).reshape(n, *map(int, sizes.split(b", "))).copy()
        except (ValueError, LookupError, TypeError, RecursionError):
            raise ServiceError(f"{response.status_code}: the service does not answer so: {body[:200]!r}") from None
        kept[0] = (etag, body)
        return rows


class Client(_Requests, AbstractContextManager["Client"]):
    """A blocking client; ``close()``, or the end of ``with``, closes its connections."""

    def close(self, *_: object) -> None:
        """Close the connections; the arguments are those of ``with``."""
        self.http.close()

    __exit__ = close

    def image(self, seed: int, **parameters: Any) -> np.ndarray:
        """The sample of a seed: uint8 [h,w,c] of a picture. Parameters are those of the query of /generate.

        One that is None is left out; there is no ``format``, as the answer is an array.

        Raises:
            ServiceError: the service refuses the request, or its answer is no such array. httpx.TransportError: it cannot be
                reached.
        """
        return self.images(seed, 1, **parameters)[0]  # type: ignore[no-any-return]

    def images(self, seed: int, n: int, **parameters: Any) -> np.ndarray:  # type: ignore[override, return]
        """The samples of n seeds from ``seed`` on: uint8 [n,h,w,c] of pictures."""
        try:
            super().images(seed, n, **parameters).send(None)  # which ends by an exception, as ``_do`` makes no pause
        except StopIteration as done:
            return done.value  # type: ignore[no-any-return]


class AsyncClient(_Requests, AbstractAsyncContextManager["AsyncClient"]):
    """The same for an event loop; ``await aclose()``, or the end of ``async with``, closes its connections."""

    make_http = httpx.AsyncClient

    async def aclose(self, *_: object) -> None:
        """As ``Client.close``."""
        await self.http.aclose()

    __aexit__ = aclose

    async def _do(self, step: httpx.Request | float) -> Any:
        return await (self.http.send(step) if isinstance(step, httpx.Request) else asyncio.sleep(step))

    async def image(self, seed: int, **parameters: Any) -> np.ndarray:
        """As ``Client.image``."""
        return (await self.images(seed, 1, **parameters))[0]  # type: ignore[no-any-return]
