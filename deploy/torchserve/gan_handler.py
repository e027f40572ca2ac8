"""TorchServe's entry point: a batch of its requests in, the service's own answers out.

It lies at the top of the archive, beside the very modules of ``contract`` and ``serving`` that the service runs; here is only
what lies between TorchServe and them. A request's body is a query string, ``seed=42&y=3``, as ``text/plain``: TorchServe takes
any other form of parameters apart before a handler sees it, and drops those that are given twice.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Coroutine, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import serving.generation.service
from serving.errors import BadQuery, Problem, UnsupportedMediaType, shown
from serving.generation.generate import Reply, RequestHeaders, Service, problem_reply
from serving.model.load import load_model
from serving.model.runtime import resolve_provider
from serving.observability.logs import print_event
from serving.observability.metrics import Metrics
from serving.settings import from_environ

MEDIA_TYPE = "text/plain"
OWN_HEADERS = frozenset({"Content-Length", "Cache-Control"})
"""What TorchServe says itself."""


class Handler:
    """What one worker process answers from."""

    service: Service
    digest: str

    def initialize(self, context: Any) -> None:
        """Load the archive's model and prove it, as the service does.

        Raises:
            RuntimeError: the code or the model that would be used is not the archive's.
            StartError: the model or a setting is refused.
        """
        folder = Path(context.system_properties["model_dir"]).resolve()
        check_origin(folder)
        about = context.manifest["model"]
        settings = from_environ(os.environ)
        # A whole batch of large requests may wait here; how many requests wait in all is TorchServe's job_queue_size.
        settings = replace(settings, queue_limit=context.system_properties["batch_size"] * settings.max_batch)
        model = load_model(
            folder / about["serializedFile"],
            resolve_provider(settings.provider),
            intra_op_threads=settings.intra_op_threads,
            max_batch=settings.max_batch,
        )
        if model.digest != about["modelVersion"]:
            raise RuntimeError(f"the model has the SHA-256 {model.digest}, the archive says {about['modelVersion']}")
        self.digest = model.digest
        self.service = serving.generation.service.create_service(settings, [model], Metrics())

    def handle(self, data: list[Mapping[str, Any]], context: Any) -> list[bytes]:
        """The bodies of a batch's answers; status and headers go by the context."""
        headers = [context.get_all_request_header(place) for place in range(len(data))]
        replies = self.service.portal.run(self._answers(data, headers))
        for place, reply in enumerate(replies):
            context.set_response_status(reply.status, "", place)
            for name, value in reply.headers:
                if name not in OWN_HEADERS:
                    context.set_response_header(place, name.lower(), value)
        return [reply.body for reply in replies]

    async def _answers(self, data: list[Mapping[str, Any]], headers: list[Mapping[str, Any]]) -> list[Reply]:
        """All that arrived in one batch of TorchServe's is asked at once, so that it is one batch here, too."""
        return await asyncio.gather(*map(self._answer, data, headers))

    def _answer(self, data: Mapping[str, Any], headers: Mapping[str, Any]) -> Coroutine[Any, Any, Reply]:
        named = {name.lower(): value for name, value in headers.items() if isinstance(value, str)}
        try:
            query = query_of(data, named.get("content-type"))
        except Problem as problem:
            return _told(problem)
        request_headers = RequestHeaders(accept=named.get("accept"), timeout_ms=named.get("x-request-timeout-ms"))
        return serving.generation.service.answer(self.service, print_event, query, request_headers, self.digest)


def check_origin(folder: Path) -> None:
    """See that the code in use is the archive's, not that of another installation in front of it.

    Raises:
        RuntimeError: it is not.
    """
    origin = Path(serving.generation.service.__file__).resolve()
    if not origin.is_relative_to(folder):
        raise RuntimeError(f"the archive's own code must be used, but {origin} is in front of it; see PYTHONPATH")


def query_of(data: Mapping[str, Any], content_type: str | None) -> str:
    """The query string that a request's body is.

    Raises:
        UnsupportedMediaType: the body is something else.
        BadQuery: there is none; TorchServe drops what follows '?', and a seed must not be lost without a word.
    """
    kind = (content_type or "").partition(";")[0].strip().lower()
    body = data.get("body")
    if not body and kind in ("", MEDIA_TYPE):
        raise BadQuery("the body must be a query string, such as seed=42; what follows '?' in the address is not seen here")
    if kind != MEDIA_TYPE or not isinstance(body, str | bytes | bytearray):
        raise UnsupportedMediaType(f"Content-Type must be {MEDIA_TYPE}, the body a query string, got {shown(kind)}")
    return body if isinstance(body, str) else body.decode("latin-1")


async def _told(problem: Problem) -> Reply:
    return problem_reply(problem)
