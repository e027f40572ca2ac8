"""Model files, the application and real server processes for the tests of the service."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
from flask import Flask

from serving.app import create_app
from serving.generation.generate import Service
from serving.generation.service import create_service
from serving.http.asgi import ASGIApp
from serving.model.load import Model, load_model, load_models
from serving.observability.metrics import Metrics
from serving.settings import Settings
from tests.serving import tiny_onnx


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with one model of each kind; ``conditional`` comes first and is the default one."""
    folder = tmp_path_factory.mktemp("models")
    makers = [tiny_onnx.conditional, tiny_onnx.grey, tiny_onnx.colour, tiny_onnx.points, tiny_onnx.tokens, tiny_onnx.exact]
    for place, make in enumerate(makers):
        (folder / f"{place}-{make.__name__}.onnx").write_bytes(make())
    (folder / "9-curve.onnx").write_bytes(tiny_onnx.points(9))
    (folder / "9-single.onnx").write_bytes(tiny_onnx.points(1))
    return folder


@pytest.fixture(scope="session")
def settings(folder: Path) -> Settings:
    """Settings for that folder, on the CPU."""
    return Settings(models=(str(folder),), provider="cpu")


@pytest.fixture(scope="session")
def models(folder: Path) -> dict[str, Model]:
    """The loaded models, by name."""
    return load_models(sorted(folder.glob("*.onnx")), partial(load_model, provider="cpu"))


@pytest.fixture(scope="session")
def app(settings: Settings) -> ASGIApp:
    """The application as it is shipped, with the fast path."""
    return create_app(settings, log=lambda event, **facts: None)


@pytest.fixture(scope="session")
def flask_only(settings: Settings) -> Flask:
    """The application without the fast path."""
    return create_app(replace(settings, fast_path=False), log=lambda event, **facts: None).flask


@pytest.fixture
def make_service(models: dict[str, Model], settings: Settings) -> Callable[..., Service]:
    """A service of its own that keeps no answers, with other models or settings where a test asks for them."""

    def make(models: dict[str, Model] = models, **changes: object) -> Service:
        return create_service(replace(settings, **{"cache_bytes": 0, **changes}), models.values(), Metrics())  # type: ignore[arg-type]

    return make
