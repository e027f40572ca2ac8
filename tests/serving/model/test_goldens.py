"""A card's goldens, by real onnxruntime: a change of NumPy, of onnxruntime and of zlib are three different findings."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from contract import sampling
from serving.app import create_app
from serving.encoding import png
from serving.engine.golden_files import GoldenFiles, hash_golden_files
from serving.errors import ModelError
from serving.generation.generate import Service
from serving.http.asgi import ASGIApp
from serving.model.determinism import GoldenReport, compare_goldens
from serving.model.load import Model, model_from_bytes
from serving.model.runtime import runtime_of
from serving.settings import Settings
from tests.serving import tiny_onnx
from tests.serving.client import ask, fetch, service_of
from tests.serving.sessions import CountingSession

FILE = tiny_onnx.grey()


def load(data: bytes = FILE) -> tuple[GoldenReport, GoldenFiles]:
    model = model_from_bytes(data, "cpu")
    return model.goldens, hash_golden_files(model)


def exported_elsewhere(levels: int) -> bytes:
    """A model whose exporter's runtime gave pixels this many levels away."""
    loaded = model_from_bytes(FILE, "cpu")
    rows = [golden.output.astype(int) for golden in loaded.card.goldens]
    moved = [np.where(row < 128, row + levels, row - levels).astype(np.uint8) for row in rows]
    goldens = tuple(replace(golden, output=row) for golden, row in zip(loaded.card.goldens, moved, strict=True))
    return tiny_onnx.grey(goldens=goldens, runtime="onnxruntime-0.1-cpu-riscv")


def test_another_draw_is_refused_as_such(monkeypatch: pytest.MonkeyPatch) -> None:
    """With another NumPy under the draw the model is refused for its latents, although every pixel differs, too."""
    raw_words = sampling.raw_words
    monkeypatch.setattr(sampling, "raw_words", lambda seeds, count: raw_words(seeds, count) ^ np.uint64(1 << 60))
    with pytest.raises(
        ModelError, match="golden seed 0: the latents must have the SHA-256 .*: NumPy's Philox or contract.draw"
    ):
        load()


def test_latents_are_looked_at_before_pixels() -> None:
    """Where the first golden's pixels and the second one's latents are wrong, the message names the latents."""
    first, second = model_from_bytes(FILE, "cpu").card.goldens
    wrong = (replace(first, output=255 - first.output), replace(second, latents="0" * 64))
    with pytest.raises(ModelError, match=f"golden seed 42: the latents must have the SHA-256 {'0' * 64}"):
        load(tiny_onnx.grey(goldens=wrong))


def test_another_runtime_is_refused_as_such() -> None:
    """Pixels two levels away under right latents are refused, and both runtimes are named."""
    with pytest.raises(ModelError) as refusal:
        load(exported_elsewhere(2))
    reason = str(refusal.value)
    assert f"the latents are right, but {runtime_of('cpu')} gives another output than onnxruntime-0.1-cpu-riscv gave" in reason
    assert reason.endswith("greatest difference 2, allowed is 1 grey level")


def test_another_rounding_is_close() -> None:
    """Pixels one level away are close and the latents exact; the files are those of the pixels here."""
    here, there = load(), load(exported_elsewhere(1))
    assert there[0] == GoldenReport(latents="exact", pixels="close")
    assert there[1].encoder == here[1].encoder


def test_a_point_far_from_0_may_differ_with_its_value() -> None:
    """A processor that rounds otherwise changes the last bits of a number: a large one by more than a small one."""
    loaded = model_from_bytes(tiny_onnx.points(), "cpu")
    (golden, *_) = loaded.card.goldens
    row = np.full_like(golden.output, 1000)
    row.flat[0] = 0
    card = replace(loaded.card, goldens=(replace(golden, output=row),))
    shape = (1, *row.shape)

    class Elsewhere(CountingSession):
        """A session whose rounding is another one."""

        def run(self, output_names: list[str] | None, input_feed: Any, /) -> Any:
            return [(row + moved).astype(row.dtype).reshape(shape)]

    session = Elsewhere(loaded.session)
    moved = np.full_like(row, 0.05)
    moved.flat[0] = 0
    assert compare_goldens(session, loaded.batching, card, loaded.runtime).pixels == "close"
    moved.flat[0] = 0.05
    with pytest.raises(ModelError, match="golden seed"):
        compare_goldens(session, loaded.batching, card, loaded.runtime)


def test_another_zlib_changes_encoder_and_files_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Deflated otherwise, latents and pixels stay exact; the encoder's fingerprint and every file differ."""
    _, before = load()
    monkeypatch.setattr(png, "LEVEL", 9)
    report, after = load()
    assert (report.latents, report.pixels) == ("exact", "exact")
    assert after.encoder != before.encoder
    assert before.files.keys() == after.files.keys() == {"0", "42"}
    assert not set(before.files.values()) & set(after.files.values())


def info(settings: Settings) -> dict[str, str]:
    """The labels of ``gan_model_info``."""
    registry = service_of(create_app(settings, log=lambda event, **facts: None)).metrics.registry
    samples = next(f for f in registry.collect() if f.name == "gan_model_info").samples
    return next(sample.labels for sample in samples if sample.labels["model"] == "grey")


@pytest.mark.slow
def test_an_encoder_that_its_fingerprint_does_not_know_is_seen_in_the_files(
    monkeypatch: pytest.MonkeyPatch, settings: Settings
) -> None:
    """Where only pictures of 28x28 are deflated otherwise, nothing but ``files`` differs, also in the metric."""
    before = load()
    one = info(settings)
    write = png.write_png

    def otherwise(pixels: NDArray[np.uint8], texts: Mapping[str, str]) -> bytes:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(png, "LEVEL", 9 if pixels.shape == (28, 28, 1) else png.LEVEL)
            return write(pixels, texts)

    monkeypatch.setattr("serving.encoding.formats.write_png", otherwise)
    after = load()
    assert (after[0], after[1].encoder) == (before[0], before[1].encoder)
    assert after[1].files != before[1].files
    other = info(settings)
    assert {name for name in one if one[name] != other[name]} == {"files"}


@pytest.mark.parametrize("name", ["grey", "conditional", "colour", "points2", "points1"])
def test_files_are_what_a_client_gets(make_service: Callable[..., Service], name: str) -> None:
    """Each golden file's SHA-256 is that of the PNG which ``/generate`` answers to its seed."""
    service = make_service()
    answers = {s: fetch(service, f"model={name}&seed={s}&format=png").body for s in ("0", "42")}
    assert service.registry[name].golden_files.files == {
        seed: hashlib.sha256(body).hexdigest() for seed, body in answers.items()
    }


@pytest.mark.parametrize(("is_optional", "seeds"), [(False, []), (True, ["7", "4294967295"])])
def test_files_of_a_model_with_a_picture_are_those_without_one(
    make_service: Callable[..., Service], is_optional: bool, seeds: list[str]
) -> None:
    """``/generate`` has no picture, so a golden that was made from one is no file of a seed."""
    file = tiny_onnx.transforming("mixing", is_optional=is_optional, golden_seeds=(0, 7, 42, 2**32 - 1))
    service = make_service({"mixing": model_from_bytes(file, "cpu")})
    answers = {s: fetch(service, f"model=mixing&seed={s}&format=png").body for s in seeds}
    assert service.registry["mixing"].golden_files.files == {
        seed: hashlib.sha256(body).hexdigest() for seed, body in answers.items()
    }


def test_models_shows_what_differs(app: ASGIApp, models: dict[str, Model]) -> None:
    """``/models/<name>`` reports latents, pixels, encoder and files separately."""
    shown: dict[str, Any] = json.loads(ask(app, path="/models/grey").body)["goldens"]
    assert shown == {"latents": "exact", "pixels": "exact"} | asdict(hash_golden_files(models["grey"]))
    assert (list(shown), shown["latents"], shown["pixels"]) == (["latents", "pixels", "encoder", "files"], "exact", "exact")


def test_without_png_or_goldens_there_are_no_files(models: dict[str, Model]) -> None:
    """Tokens have no PNG, and a card may have no goldens: then there is nothing to compare, and that is said."""
    tokens = models["tokens"]
    assert tokens.goldens == GoldenReport(latents="exact", pixels="exact")
    assert hash_golden_files(tokens) == GoldenFiles(encoder=None, files={})
    report, files = load(tiny_onnx.grey(goldens=()))
    assert (report, files.files) == (GoldenReport(latents="none", pixels="none"), {})
