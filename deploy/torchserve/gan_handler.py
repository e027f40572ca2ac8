"""TorchServe's handler: takes a batch of TorchServe's requests, returns the service's answers.

The archive holds this file and the modules of ``contract`` and ``serving`` that it imports. A request's body is a query string,
``seed=42&y=3``, as ``text/plain``: TorchServe parses every other form of parameters before a handler sees it, and drops
parameters that are given twice.
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
"""Headers that TorchServe sends itself."""


class Handler:
    """One per worker process: loads the model, answers batches."""

    service: Service
    digest: str

    def initialize(self, context: Any) -> None:
        """Load the archive's model and check it against its goldens, as the service does.

        Raises:
            RuntimeError: the code or the model is not the archive's.
            StartError: the model or a setting is refused.
        """
        folder = Path(context.system_properties["model_dir"]).resolve()
        check_origin(folder)
        manifest = context.manifest["model"]
        settings = from_environ(os.environ)
        # A batch of the largest requests must fit into this queue; TorchServe's job_queue_size limits how many requests wait.
        settings = replace(settings, queue_limit=context.system_properties["batch_size"] * settings.max_batch)
        model = load_model(
            folder / manifest["serializedFile"],
            resolve_provider(settings.provider),
            intra_op_threads=settings.intra_op_threads,
            max_batch=settings.max_batch,
        )
        if model.digest != manifest["modelVersion"]:
            raise RuntimeError(f"the model has the SHA-256 {model.digest}, the archive says {manifest['modelVersion']}")
        self.digest = model.digest
        self.service = serving.generation.service.create_service(settings, [model], Metrics())

    def handle(self, data: list[Mapping[str, Any]], context: Any) -> list[bytes]:
        """Return the bodies of a batch's answers; set their status and headers in the context."""
        headers = [context.get_all_request_header(index) for index in range(len(data))]
        replies = self.service.portal.run(self._answers(data, headers))
        for index, reply in enumerate(replies):
            context.set_response_status(reply.status, "", index)
            for name, value in reply.headers:
                if name not in OWN_HEADERS:
                    context.set_response_header(index, name.lower(), value)
        return [reply.body for reply in replies]

    async def _answers(self, data: list[Mapping[str, Any]], headers: list[Mapping[str, Any]]) -> list[Reply]:
        """Ask for all requests of TorchServe's batch in one turn of the loop, so that they are one batch of the model too."""
        return await asyncio.gather(*map(self._answer, data, headers))

    def _answer(self, data: Mapping[str, Any], headers: Mapping[str, Any]) -> Coroutine[Any, Any, Reply]:
        named = {name.lower(): value for name, value in headers.items() if isinstance(value, str)}
        try:
            query = query_of(data, named.get("content-type"))
        except Problem as problem:
            return _problem(problem)
        request_headers = RequestHeaders(accept=named.get("accept"), timeout_ms=named.get("x-request-timeout-ms"))
        return serving.generation.service.answer(self.service, print_event, query, request_headers, self.digest)


def check_origin(folder: Path) -> None:
    """Check that the imported code is the archive's, not that of an installation earlier on the path.

    Raises:
        RuntimeError: it is another installation's.
    """
    origin = Path(serving.generation.service.__file__).resolve()
    if not origin.is_relative_to(folder):
        raise RuntimeError(f"the archive's own code must be used, but {origin} comes first on the path; see PYTHONPATH")


def query_of(data: Mapping[str, Any], content_type: str | None) -> str:
    """Return the query string in a request's body.

    Raises:
        UnsupportedMediaType: the body is not text/plain.
        BadQuery: the body is empty; TorchServe drops what follows '?', so a seed given there would be ignored silently.
    """
    kind = (content_type or "").partition(";")[0].strip().lower()
    body = data.get("body")
    if not body and kind in ("", MEDIA_TYPE):
        raise BadQuery("the body must be a query string, such as seed=42; what follows '?' in the address is not seen here")
    if kind != MEDIA_TYPE or not isinstance(body, str | bytes | bytearray):
        raise UnsupportedMediaType(f"Content-Type must be {MEDIA_TYPE}, the body a query string, got {shown(kind)}")
    return body if isinstance(body, str) else body.decode("latin-1")


async def _problem(problem: Problem) -> Reply:
    return problem_reply(problem)
