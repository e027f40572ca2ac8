"""Bearer-token authentication of the admin routes, which do not exist without ``GAN_ADMIN_TOKEN``."""

from __future__ import annotations

import hashlib
import hmac
import time
from collections import deque

from serving.errors import TooManyTries, Unauthorised

TRIES = 10
"""Wrong tokens that a worker answers 401 per minute; further ones are answered 429. The right token always passes."""
MINUTE = 60.0


class BearerAuth:
    """Checks ``Authorization: Bearer ...``.

    Args:
        token: the expected token.
    """

    def __init__(self, token: str) -> None:
        self._digest = hashlib.sha256(token.encode()).digest()
        self._failed: deque[float] = deque(maxlen=TRIES)

    def check(self, authorization: str | None) -> None:
        """Check the header in constant time.

        Raises:
            Unauthorised: the token is missing or wrong.
            TooManyTries: the same, after too many within the last minute.
        """
        scheme, _, token = (authorization or "").partition(" ")
        digest = hashlib.sha256(token.strip().encode("utf-8", "surrogatepass")).digest()
        if hmac.compare_digest(digest, self._digest) and scheme.lower() == "bearer":
            return
        now = time.monotonic()
        if len(self._failed) == TRIES and now - self._failed[0] < MINUTE:
            raise TooManyTries(MINUTE - (now - self._failed[0]))
        self._failed.append(now)
        raise Unauthorised
