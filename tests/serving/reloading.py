"""Model files that are replaced while an application serves them."""

from __future__ import annotations

from pathlib import Path

from contract import Image, Normal
from serving.app import create_app
from serving.engine.reload import Outcome, Reloader
from serving.http.asgi import ASGIApp
from serving.settings import Settings
from tests.serving import tiny_onnx
from tests.serving.client import service_of


def retrained(seed: int = 7, name: str = "grey") -> bytes:
    """A model of the shape of ``grey`` with other weights."""
    return tiny_onnx.build(name, {"z": Normal(20)}, Image(28, 28, 1), [30 + seed])


def replace_file(path: Path, data: bytes) -> None:
    """Replace a file atomically, by rename."""
    partial = path.with_name("partial")
    partial.write_bytes(data)
    partial.replace(path)


def make_app(*models: Path, **settings: object) -> ASGIApp:
    """An application of these model files or folders of them, with these settings."""
    overrides = Settings(models=tuple(map(str, models)), provider="cpu", **settings)  # type: ignore[arg-type]
    return create_app(overrides, log=lambda event, **facts: None)


def reloader_of(app: ASGIApp) -> Reloader:
    """What reloads an application's models."""
    reloader: Reloader = app.flask.extensions["serving"].reloader
    return reloader


def reload(app: ASGIApp) -> list[Outcome]:
    """Load the files that changed; what came of each."""
    return service_of(app).portal.run(reloader_of(app).reload())
