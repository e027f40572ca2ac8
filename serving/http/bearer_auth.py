"""Routes for whoever runs the service; without ``GAN_ADMIN_TOKEN`` they do not exist."""

from __future__ import annotations

import hashlib
import hmac
import time
from collections import deque

from serving.errors import TooManyTries, Unauthorised

TRIES = 10
"""Wrong tokens that a worker answers within a minute; after them even the right one waits."""
MINUTE = 60.0


class BearerAuth:
    """Lets in whoever knows the token.

    Args:
        token: what ``Authorization: Bearer ...`` must say.
    """

    def __init__(self, token: str) -> None:
        self._digest = hashlib.sha256(token.encode()).digest()
        self._failed: deque[float] = deque(maxlen=TRIES)

    def check(self, authorization: str | None) -> None:
        """Compare in a time that does not depend on how much of the token is right.

        Raises:
            Unauthorised: it is missing or wrong.
            TooManyTries: it has been wrong too often.
        """
        now = time.monotonic()
        if len(self._failed) == TRIES and now - self._failed[0] < MINUTE:
            raise TooManyTries(MINUTE - (now - self._failed[0]))
        scheme, _, token = (authorization or "").partition(" ")
        given = hashlib.sha256(token.strip().encode("utf-8", "surrogatepass")).digest()
        if not hmac.compare_digest(given, self._digest) or scheme.lower() != "bearer":
            self._failed.append(now)
            raise Unauthorised
