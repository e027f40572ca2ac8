"""A picture as an input: its declaration on the card, and the pictures of goldens and self-tests."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from contract import (
    MAX_SEED,
    METADATA_KEY,
    Card,
    CardError,
    Categorical,
    Image,
    Latents,
    Normal,
    Picture,
    card_from_metadata,
    card_to_json,
    digest_latents,
    draw,
    picture_inputs,
    probe_inputs,
)
from contract.pictures import probe_picture
from tests.contract import reference

GOLDEN = json.loads(Path(__file__).with_name("golden_pictures.json").read_text())
LATENTS: Latents = {"z": Normal(3), "y": Categorical(10)}
EXAMPLE = Card(
    name="pix2pix-mnist",
    recipe="pix2pix",
    paper="arXiv:1611.07004",
    latents=LATENTS,
    picture=Picture(3, 5, 3),
    output=Image(3, 5, 1),
    data="mnist",
    data_licence="CC BY-SA 3.0",
    steps=10,
    images=640,
    runtime="onnxruntime-1.31-cpu-x86_64",
)


def read(changes: dict[str, Any]) -> Card:
    return card_from_metadata({METADATA_KEY: json.dumps(json.loads(card_to_json(EXAMPLE)) | changes)})


@pytest.mark.parametrize("golden", GOLDEN, ids=lambda golden: golden["seed"])
def test_golden_pictures(golden: dict[str, Any]) -> None:
    """Sixteen seeds give the probe pictures that were written down when pictures joined the contract."""
    assert probe_picture(Picture(3, 5, 3), golden["seed"]).ravel().tolist() == golden["picture"]


@given(
    st.integers(0, MAX_SEED), st.builds(Picture, st.integers(1, 9), st.integers(1, 9), st.sampled_from([1, 3]), st.booleans())
)
def test_a_probe_picture_is_the_references(seed: int, picture: Picture) -> None:
    """Plain integers give the same pixels for any seed and size."""
    found = probe_picture(picture, seed)
    assert found.dtype == np.uint8
    assert found.shape == picture.shape
    assert found.ravel().tolist() == reference.picture(seed, found.size)


@pytest.mark.parametrize("is_optional", [False, True])
def test_the_card_comes_back_with_its_picture(is_optional: bool) -> None:
    """The declaration survives the card's JSON text."""
    picture = Picture(28, 30, 1, is_optional)
    card = read({"picture": dict(vars(picture))})
    assert card.picture == picture
    assert card_from_metadata({METADATA_KEY: card_to_json(card)}) == card


def test_a_card_without_a_picture_has_no_such_key() -> None:
    """The text of such a card does not change, so that older readers open it and its file keeps its digest."""
    value = json.loads(card_to_json(EXAMPLE))
    del value["picture"]
    card = card_from_metadata({METADATA_KEY: json.dumps(value)})
    assert card.picture is None
    assert "picture" not in json.loads(card_to_json(card))


FALSE: list[tuple[dict[str, Any], str]] = [
    ({"picture": None}, "picture must be an object, got None"),
    ({"picture": [28, 28, 1]}, "picture must be an object, got [28, 28, 1]"),
    ({"picture": {"height": 28, "width": 28}}, "picture: "),
    ({"picture": {"height": 28, "width": 28, "channels": 1, "depth": 8}}, "depth"),
    ({"picture": {"height": 0, "width": 28, "channels": 1}}, "picture.height must be 1..4096, got 0"),
    ({"picture": {"height": 28, "width": 1e9, "channels": 1}}, "picture.width must be 1..4096, got 1000000000.0"),
    ({"picture": {"height": 28, "width": True, "channels": 1}}, "picture.width must be 1..4096, got True"),
    ({"picture": {"height": 28, "width": 28, "channels": 4}}, "picture.channels must be 1 or 3, got 4"),
    ({"picture": {"height": 28, "width": 28, "channels": True}}, "picture.channels must be 1 or 3, got True"),
    (
        {"picture": {"height": 28, "width": 28, "channels": 1, "is_optional": 1}},
        "picture.is_optional must be true or false, got 1",
    ),
    ({"latents": {"picture": {"kind": "normal", "size": 2}}}, "latents: picture is the name of the picture's input"),
    ({"latents": {"has_picture": {"kind": "normal", "size": 2}}}, "latents: has_picture is the name of the picture's input"),
]


@pytest.mark.parametrize(("changes", "message"), FALSE, ids=lambda part: str(part)[:60])
def test_false_declarations_are_refused(changes: dict[str, Any], message: str) -> None:
    """The message names the field, its value and what would be right."""
    with pytest.raises(CardError) as caught:
        read(changes)
    assert message in str(caught.value)


def test_probe_inputs_are_the_latents_and_a_picture_of_each_seed() -> None:
    """The latents do not change by the picture, which comes last."""
    inputs = probe_inputs(LATENTS, Picture(3, 5, 3), [7, 8])
    assert list(inputs) == ["z", "y", "picture"]
    assert all(np.array_equal(values, inputs[name]) for name, values in draw(LATENTS, [7, 8]).items())
    assert np.array_equal(inputs["picture"][1], probe_picture(Picture(3, 5, 3), 8))
    assert probe_inputs(LATENTS, None, [7]).keys() == LATENTS.keys()


def test_odd_seeds_have_no_optional_picture() -> None:
    """Self-tests and goldens see rows with and without a picture, and the pixels of a row without one are black."""
    inputs = probe_inputs(LATENTS, Picture(3, 5, 3, is_optional=True), [7, 8])
    assert list(inputs) == ["z", "y", "picture", "has_picture"]
    assert inputs["has_picture"].tolist() == [False, True]
    assert not inputs["picture"][0].any()


def test_the_digest_of_a_golden_covers_its_picture() -> None:
    """Another picture of the same seed has another digest."""
    picture = Picture(3, 5, 3)
    inputs = probe_inputs(LATENTS, picture, [7])
    other = {**draw(LATENTS, [7]), **picture_inputs(picture, [probe_picture(picture, 8)])}
    assert digest_latents(inputs, 0) != digest_latents(other, 0)
