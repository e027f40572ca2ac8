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
from serving.encoding import png
from serving.errors import ModelError
from serving.generation.generate import Service
from serving.http.asgi import Front
from serving.model.determinism import Goldens
from serving.model.load import Model, model_from_bytes
from serving.model.runtime import runtime_class
from serving.observability.metrics import Metrics
from tests.serving import tiny_onnx
from tests.serving.client import ask, fetch

FILE = tiny_onnx.grey()


def load(data: bytes = FILE) -> Goldens:
    return model_from_bytes(data, "cpu").goldens


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
    with pytest.raises(ModelError, match="golden seed 0: the latents must have the SHA-256 .*: NumPy's Philox or our draw"):
        load()


def test_latents_are_looked_at_before_pixels() -> None:
    """Where the first golden's pixels and the second one's latents are wrong, the latents are told."""
    first, second = model_from_bytes(FILE, "cpu").card.goldens
    wrong = (replace(first, output=255 - first.output), replace(second, latents="0" * 64))
    with pytest.raises(ModelError, match=f"golden seed 42: the latents must have the SHA-256 {'0' * 64}"):
        load(tiny_onnx.grey(goldens=wrong))


def test_another_runtime_is_refused_as_such() -> None:
    """Pixels two levels away under right latents are refused, and both runtimes are named."""
    with pytest.raises(ModelError) as refusal:
        load(exported_elsewhere(2))
    reason = str(refusal.value)
    assert (
        f"the latents are right, but {runtime_class('cpu')} gives another output than onnxruntime-0.1-cpu-riscv gave" in reason
    )
    assert reason.endswith("greatest difference 2, allowed is 1 grey level")


def test_another_rounding_is_close() -> None:
    """Pixels one level away are close and the latents exact; the files are those of the pixels here."""
    here, there = load(), load(exported_elsewhere(1))
    assert (there.latents, there.pixels, there.encoder) == ("exact", "close", here.encoder)


def test_another_zlib_changes_encoder_and_files_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Deflated otherwise, latents and pixels stay exact; the encoder's fingerprint and every file differ."""
    before = load()
    monkeypatch.setattr(png, "LEVEL", 9)
    after = load()
    assert (after.latents, after.pixels) == ("exact", "exact")
    assert after.encoder != before.encoder
    assert before.files.keys() == after.files.keys() == {"0", "42"}
    assert not set(before.files.values()) & set(after.files.values())


def info(goldens: Goldens) -> dict[str, str]:
    """The labels of ``gan_model_info``."""
    metrics = Metrics()
    metrics.record_model(replace(model_from_bytes(FILE, "cpu"), goldens=goldens))
    (sample,) = next(f for f in metrics.registry.collect() if f.name == "gan_model_info").samples
    return sample.labels


def test_an_encoder_that_its_fingerprint_does_not_know_is_seen_in_the_files(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where only pictures of 28x28 are deflated otherwise, nothing but ``files`` differs, also in the metric."""
    before = load()
    write = png.write_png

    def otherwise(pixels: NDArray[np.uint8], texts: Mapping[str, str]) -> bytes:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(png, "LEVEL", 9 if pixels.shape == (28, 28, 1) else png.LEVEL)
            return write(pixels, texts)

    monkeypatch.setattr("serving.encoding.formats.write_png", otherwise)
    after = load()
    assert replace(after, files=before.files) == before
    assert after.files != before.files
    one, other = info(before), info(after)
    assert {name for name in one if one[name] != other[name]} == {"files"}


@pytest.mark.parametrize("name", ["grey", "conditional", "colour", "points2", "points1"])
def test_files_are_what_a_client_gets(make_service: Callable[..., Service], models: dict[str, Model], name: str) -> None:
    """Each golden file's SHA-256 is that of the PNG which ``/generate`` answers to its seed."""
    service = make_service()
    answers = {s: fetch(service, f"model={name}&seed={s}&format=png").body for s in ("0", "42")}
    assert models[name].goldens.files == {seed: hashlib.sha256(body).hexdigest() for seed, body in answers.items()}


def test_models_shows_what_differs(app: Front, models: dict[str, Model]) -> None:
    """``/models/<name>`` tells latents, pixels, encoder and files, each by itself."""
    shown: dict[str, Any] = json.loads(ask(app, path="/models/grey").body)["goldens"]
    assert shown == asdict(models["grey"].goldens)
    assert (list(shown), shown["latents"], shown["pixels"]) == (["latents", "pixels", "encoder", "files"], "exact", "exact")


def test_without_png_or_goldens_there_are_no_files(models: dict[str, Model]) -> None:
    """Tokens have no PNG, and a card may have no goldens: then there is nothing to compare, and that is said."""
    tokens, none = models["tokens"].goldens, load(tiny_onnx.grey(goldens=()))
    assert (tokens.latents, tokens.pixels, tokens.encoder, tokens.files) == ("exact", "exact", None, {})
    assert (none.latents, none.pixels, none.files) == ("none", "none", {})
