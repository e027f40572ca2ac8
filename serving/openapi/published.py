"""The OpenAPI document and its page as they are sent: made once for each set of models, since that takes 50 ms of a core."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from serving.engine.registry import Registry
from serving.openapi.docs_page import render_docs
from serving.openapi.document import Served, document
from serving.settings import Settings


class Published(NamedTuple):
    """The document of some models."""

    digests: list[str]
    """The models'."""
    document: bytes
    """As JSON."""
    page: str
    """As HTML."""


class Publisher:
    """Makes the document, and makes it anew when the models have changed; thread-safe.

    Args:
        routes: as of ``document``.
        settings: settings of the service.
        registry: the models in service.
    """

    def __init__(self, routes: Mapping[str, Callable[..., Any]], settings: Settings, registry: Registry) -> None:
        self._routes, self._settings, self._registry = routes, settings, registry
        self._making = threading.Lock()
        """Held while the document is made: other threads wait for it instead of making the same."""
        self._latest: dict[frozenset[str], Published] = {}
        """By the routes that are left out."""

    def latest(self, without: frozenset[str] = frozenset()) -> Published:
        """Return the document of the models of this moment, without some routes."""
        with self._making:
            models = [entry.model for entry in self._registry.values()]
            digests = [model.digest for model in models]
            latest = self._latest.get(without)
            if latest is None or latest.digests != digests:
                routes = {route: view for route, view in self._routes.items() if route not in without}
                made = document(routes, Served(self._settings, models))
                latest = Published(digests, f"{json.dumps(made, indent=1)}\n".encode(), render_docs(made))
                self._latest[without] = latest
            return latest
