"""A model at the address of its digest: what is answered there, and for how long it stays."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from serving.engine.golden_files import hash_golden_files
from serving.engine.registry import ModelEntry, Registry
from serving.errors import Gone, NotFound, UnknownParameter
from serving.generation.generate import Service
from serving.model.load import Model
from tests.serving.client import fetch


def test_a_digests_address_is_immutable_and_gives_the_same(make_service: Callable[..., Service]) -> None:
    """``/models/<digest>/generate`` gives the bytes of ``/generate``, immutable; a random seed's are not cached."""
    service = make_service()
    digest = service.registry["grey"].model.digest
    named = fetch(service, "model=grey&seed=5")
    for digits in (digest, digest[:12]):
        addressed = fetch(service, "seed=5", digits=digits)
        assert addressed.body == named.body
        assert dict(addressed.headers)["Cache-Control"] == "public, max-age=31536000, immutable"
    assert dict(fetch(service, "", digits=digest).headers)["Cache-Control"] == "no-store"
    with pytest.raises(UnknownParameter, match="no parameter 'model'"):
        fetch(service, "seed=5&model=grey", digits=digest)


@pytest.mark.parametrize("digits", ["0" * 64, "", "abc", "x" * 12, "0" * 65])
def test_an_address_of_no_model_is_not_found(make_service: Callable[..., Service], digits: str) -> None:
    """Too few digits, or digits of no model, are 404."""
    service = make_service()
    with pytest.raises(NotFound):
        service.registry.by_digest(digits)
    with pytest.raises(NotFound):
        service.registry.by_digest(service.registry["grey"].model.digest[:11])


def test_a_replaced_model_stays_at_its_address_and_is_gone_after(models: dict[str, Model]) -> None:
    """The old digest gives the old model while it is kept, then 410; a model that comes back is found again."""
    one, two, three = (replace(models["grey"], digest=letter * 64) for letter in "abc")
    entries = {model.digest[0]: ModelEntry(model, object(), hash_golden_files(model)) for model in (one, two, three)}  # type: ignore[arg-type]
    registry = Registry([one], lambda model: entries[model.digest[0]], keep=1)
    registry.put(entries["b"])
    registry.put(entries["b"])
    assert (registry["grey"].model, registry.by_digest("a" * 12).model) == (two, one)
    registry.put(entries["c"])
    with pytest.raises(Gone):
        registry.by_digest("a" * 12)
    registry.put(entries["b"])
    registry.put(entries["a"])
    assert [registry.by_digest(letter * 12).model for letter in "ab"] == [one, two]
    with pytest.raises(Gone):
        registry.by_digest("c" * 12)
