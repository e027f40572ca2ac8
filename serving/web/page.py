"""The page at ``/`` and the files that it loads: all of them in the package, read once, nothing from another host."""

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
"""What the page may do: run and show what this service gives, and no line of script or style that stands in it."""
DOCUMENT = "index.html"
MEDIA_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
"""By a file's suffix; other files are not served."""


@dataclass(frozen=True)
class StaticFile:
    """A file that the page loads."""

    media_type: str
    body: bytes


@cache
def static_files() -> Mapping[str, StaticFile]:
    """The files at ``/static/``, by name."""
    found = sorted(files("serving.web").joinpath("static").iterdir(), key=lambda file: file.name)
    types = {file: MEDIA_TYPES.get(file.name[file.name.rfind(".") :]) for file in found}
    return {file.name: StaticFile(kind, file.read_bytes()) for file, kind in types.items() if kind}


@cache
def _document() -> str:
    return files("serving.web").joinpath("static", DOCUMENT).read_text()


def render_page(settings: Settings) -> str:
    """The page as HTML: the limits of the settings are written into it, everything else its modules ask for."""
    modules = [name for name in static_files() if name.endswith(".js")]
    preloads = "\n".join(f'<link rel="modulepreload" href="/static/{name}">' for name in modules)
    return _document().format(
        max_images=settings.max_images, max_frames=settings.max_frames, max_scale=settings.max_scale, preloads=preloads
    )
