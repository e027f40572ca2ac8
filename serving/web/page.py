"""The web page at ``/`` and its static files: package data, read once; the page loads nothing from other hosts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from serving.settings import Settings

PAGE_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""Content security policy of the page: resources of this service only, no inline script or style."""
DOCUMENT = "index.html"
MEDIA_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
"""File suffix to media type; other files are not served."""


@dataclass(frozen=True)
class StaticFile:
    """A static file of the page."""

    media_type: str
    body: bytes


@cache
def static_files() -> Mapping[str, StaticFile]:
    """The files at ``/static/``, by name."""
    found = sorted(files("serving.web").joinpath("static").iterdir(), key=lambda file: file.name)
    types = {file: MEDIA_TYPES.get(file.name[file.name.rfind(".") :]) for file in found}
    return {file.name: StaticFile(media_type, file.read_bytes()) for file, media_type in types.items() if media_type}


@cache
def _template() -> str:
    return files("serving.web").joinpath("static", DOCUMENT).read_text()


def render_page(settings: Settings, *, has_metrics: bool) -> str:
    """The page as HTML with the limits of the settings, and a link to the metrics; its modules request all other data."""
    modules = [name for name in static_files() if name.endswith(".js")]
    preloads = "\n".join(f'<link rel="modulepreload" href="/static/{name}">' for name in modules)
    return _template().format(
        max_images=settings.max_images,
        max_frames=settings.max_frames,
        max_scale=settings.max_scale,
        max_pixels=settings.max_pixels,
        preloads=preloads,
        metrics='\n    <a href="/metrics">Metrics</a>' if has_metrics else "",
    )
