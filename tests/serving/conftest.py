"""Model files, the application and real server processes for the tests of the service."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from functools import cache, partial
from pathlib import Path

import pytest
from flask import Flask

from serving.app import create_app
from serving.engine.golden_files import GoldenFiles, hash_golden_files
from serving.engine.start import load_models
from serving.generation import service
from serving.generation.generate import Service
from serving.generation.service import create_service
from serving.http.asgi import ASGIApp
from serving.model.load import Model, load_model
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


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A file of the model ``grey`` that a test may replace."""
    path = tmp_path / "m.onnx"
    path.write_bytes(tiny_onnx.grey())
    return path


@pytest.fixture(scope="module", params=["worker", "shared"])
def engine(request: pytest.FixtureRequest) -> str:
    """Where a server's models run, as ``GAN_ENGINE``: the tests of servers hold for both."""
    return str(request.param)


@pytest.fixture(scope="session")
def settings(folder: Path) -> Settings:
    """Settings for that folder, on the CPU."""
    return Settings(models=(str(folder),), provider="cpu")


@pytest.fixture(scope="session")
def models(folder: Path) -> dict[str, Model]:
    """The loaded models, by name."""
    started = load_models(sorted(folder.glob("*.onnx")), partial(load_model, provider="cpu"))
    return {model.card.name: model for model in started.models.values()}


@pytest.fixture(scope="session")
def app(settings: Settings) -> ASGIApp:
    """The application as it is shipped, with the fast path."""
    return create_app(settings, log=lambda event, **facts: None)


@pytest.fixture(scope="session")
def flask_only(settings: Settings) -> Flask:
    """The application without the fast path."""
    return create_app(replace(settings, fast_path=False), log=lambda event, **facts: None).flask


@pytest.fixture(scope="session")
def encoded_once() -> Callable[[], AbstractContextManager[None]]:
    """A context in which a service takes golden files and fingerprints from an earlier one: most of the time of its start."""
    known: dict[tuple[str, str, int], tuple[Model, GoldenFiles]] = {}

    def golden_files(model: Model) -> GoldenFiles:
        key = (model.digest, model.card.name, id(model.goldens))
        if key not in known:
            known[key] = (model, hash_golden_files(model))  # with the model, so that no other one gets its id
        return known[key][1]

    @contextmanager
    def context() -> Iterator[None]:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(service, "hash_golden_files", golden_files)
            patch.setattr(service, "all_fingerprints", fingerprints)
            yield

    fingerprints = cache(service.all_fingerprints)
    return context


@pytest.fixture
def make_service(
    models: dict[str, Model], settings: Settings, encoded_once: Callable[[], AbstractContextManager[None]]
) -> Callable[..., Service]:
    """A service of its own that keeps no answers, with other models or settings where a test asks for them."""

    def make(models: dict[str, Model] = models, **changes: object) -> Service:
        with encoded_once():
            return create_service(replace(settings, **{"cache_bytes": 0, **changes}), models.values(), Metrics())  # type: ignore[arg-type]

    return make
