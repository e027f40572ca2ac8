"""The card in a model file says all there is to know, or the file is refused by name."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from contract import (
    METADATA_KEY,
    CardError,
    Categorical,
    Latents,
    Normal,
    Parameter,
    Uniform,
    card_from_metadata,
    card_to_json,
    check_names,
    parameters,
)
from tests.contract.cards import EXAMPLE, example, read


def test_metadata_without_a_card_is_refused() -> None:
    """The message names the key that is missing, and the command that makes a model file of another ONNX file."""
    with pytest.raises(CardError, match=r"no card: metadata key 'gan.card' is missing; `python -m training adopt` makes"):
        card_from_metadata({"producer": "someone"})


@pytest.mark.parametrize("text", ["", "{", "nan", "[" * 100_000, '{"steps": ' + "9" * 5000 + "}"], ids=lambda text: text[:12])
def test_what_is_no_json_is_refused(text: str) -> None:
    """Cut, too deep or with numbers past every limit: one error of ours, none of the parser's."""
    with pytest.raises(CardError, match="the card is not JSON"):
        read(text)


def test_a_value_that_is_nested_too_deep_is_refused() -> None:
    """The parser of Python 3.14 reads objects deeper than a message about them can be written."""
    text = json.dumps({**example(), "name": "@"}).replace('"@"', 60_000 * '{"a":' + "1" + 60_000 * "}")
    with pytest.raises(CardError, match=r"the card (is not JSON|has a value that is nested too deep)"):
        read(text)


@pytest.mark.parametrize("text", ["null", "3", '"card"', "[]"])
def test_json_that_is_no_object_is_refused(text: str) -> None:
    """A card is an object."""
    with pytest.raises(CardError, match="the card must be a JSON object, got "):
        read(text)


def test_a_card_from_before_the_precision_is_of_float32() -> None:
    """Files that were made without the key still open."""
    value = example()
    del value["precision"]
    assert card_from_metadata({METADATA_KEY: json.dumps(value)}).precision == "float32"


def test_a_card_says_why_its_weights_were_chosen() -> None:
    """The last step needs no reason, and its card has no such key."""
    assert "chosen" not in example()
    assert read(card_to_json(replace(EXAMPLE, chosen="lowest KID"))).chosen == "lowest KID"


@pytest.mark.parametrize("key", [key for key in example() if key != "precision"])
def test_every_key_must_be_there(key: str) -> None:
    """A card that lacks a key is refused, and the key is named."""
    value = example()
    del value[key]
    with pytest.raises(CardError, match=rf"\b{key}\b"):
        read(json.dumps(value))


def test_no_other_key_may_be_there() -> None:
    """Unknown keys are named, all of them."""
    with pytest.raises(CardError, match="the card has unknown colour, weight"):
        read(json.dumps(example() | {"weight": 1, "colour": "red"}))


@pytest.mark.parametrize(
    "change",
    [
        {"paper": "\ud800"},
        {"classes": ["\udfff", "b"]},
        {"versions": {"\ud800": "1"}},
        {"scores": {"a\udc00b": 1.0}},
        {"\ud800": 1},
    ],
    ids=ascii,
)
def test_half_of_a_surrogate_pair_is_refused(change: dict[str, Any]) -> None:
    """No encoding has it: a card with it could be read, but neither printed nor written. A whole pair is a character."""
    with pytest.raises(CardError, match=r"the card's '.*' has '.ud.*', half of a surrogate pair") as caught:
        read(json.dumps(example() | change))
    assert str(caught.value).isascii()
    assert read(json.dumps(example() | {"paper": "\U0001f600"})).paper == "\U0001f600"


@pytest.mark.parametrize("name", ["A", "9.b_c-D", "a" * 64])
def test_a_name_that_can_stand_in_an_address_is_a_models(name: str) -> None:
    """Letters, digits, dots, dashes and underscores, 64 at most."""
    check_names(replace(EXAMPLE, name=name))


@pytest.mark.parametrize("name", ["", "a" * 65, ".a", "-a", "../a", "a/b", "a b", "a%2f", "a\n", "\u00e4"])
def test_a_name_that_cannot_stand_in_an_address_is_refused(name: str) -> None:
    """Also one that would lead to another folder, and a line break at its end."""
    with pytest.raises(CardError, match=r"card.name must be 1\.\.64 letters"):
        check_names(replace(EXAMPLE, name=name))


@pytest.mark.parametrize("latent", [Normal(20), Normal(2), Categorical(3), Uniform(1)], ids=str)
def test_no_latent_is_called_as_the_seed(latent: Normal | Uniform | Categorical) -> None:
    """Noise has no parameters, and yet the Open Inference Protocol would have two inputs of this name."""
    with pytest.raises(CardError, match="card.latents has one called seed, which is the name of the seed in a request"):
        check_names(replace(EXAMPLE, latents={"z": Normal(20), "seed": latent}))
    check_names(replace(EXAMPLE, latents={"n": Normal(20), "seeds": Normal(20)}))


FALSE: list[tuple[str, Any, str]] = [
    ("schema", 2, "card.schema must be 1, got 2"),
    *[(key, 3, f"card.{key} must be text, got 3") for key in ("name", "recipe", "paper", "data", "data_licence", "runtime")],
    *[
        (key, false, f"card.{key} must be a count, got {false!r}")
        for key in ("steps", "images")
        for false in (-1, 1.0, "1", True, None)
    ],
    *[
        ("scores", {"fid": false}, "card.scores must be an object of finite numbers")
        for false in ("1", None, True, float("nan"))
    ],
    ("scores", {"fid": 10**400}, "card.scores must be an object of finite numbers"),
    ("scores", [], "card.scores must be an object of finite numbers"),
    ("versions", {"numpy": 2}, "card.versions must be an object of text"),
    ("classes", "01", "card.classes must be a list, got '01'"),
    ("classes", [0, 1], "card.classes must be a list of text"),
    ("classes", ["zero"], "card.classes has 1 names, but the latent y is Categorical(classes=2)"),
    ("latents", [], "latents must be a non-empty object"),
    ("latents", {}, "latents must be a non-empty object"),
    ("latents", {"a b": {"kind": "normal", "size": 1}}, "latents: 'a b' is not a name"),
    ("latents", {"z": None}, "latents.z.kind must be one of normal, uniform, categorical"),
    ("latents", {"z": {"kind": "cauchy"}}, "latents.z.kind must be one of normal, uniform, categorical"),
    ("latents", {"z": {"kind": ["normal"]}}, "latents.z.kind must be one of normal, uniform, categorical"),
    ("latents", {"z": {"kind": "normal"}}, "latents.z: "),
    ("latents", {"z": {"kind": "normal", "size": 1, "mean": 0}}, "mean"),
    ("latents", {"z": {"kind": "normal", "size": 0}}, "latents.z.size must be 1..4194304, got 0"),
    ("latents", {"z": {"kind": "normal", "size": True}}, "latents.z.size must be 1..4194304, got True"),
    ("latents", {"z": {"kind": "normal", "size": 2**22 + 1}}, "latents.z.size must be 1..4194304, got 4194305"),
    ("latents", {"y": {"kind": "categorical", "classes": 1_000_001}}, "latents.y.classes must be 1..1000000, got 1000001"),
    ("latents", {"y": {"kind": "categorical", "classes": 1.5}}, "latents.y.classes must be 1..1000000, got 1.5"),
    ("latents", {"c": {"kind": "uniform", "size": 1, "low": "0"}}, "latents.c.low must be a finite number, got '0'"),
    ("latents", {"c": {"kind": "uniform", "size": 1, "low": float("nan")}}, "latents.c.low must be a finite number, got nan"),
    ("latents", {"c": {"kind": "uniform", "size": 1, "low": 1.0}}, "latents.c: low must be less than high, got 1.0 and 1.0"),
    (
        "latents",
        {"c": {"kind": "normal", "size": 2}, "c0": {"kind": "normal", "size": 1}},
        "latents: two of them give the parameter 'c0'",
    ),
    ("output", None, "output.kind must be one of image, points, tokens, got None"),
    ("output", {"kind": {}}, "output.kind must be one of image, points, tokens"),
    ("output", {"kind": "image", "height": 1}, "output: "),
    ("output", {"kind": "image", "height": 0, "width": 1, "channels": 1}, "output.height must be 1..1000000, got 0"),
    ("output", {"kind": "image", "height": [2], "width": 1, "channels": 1}, "output.height must be 1..1000000, got (2,)"),
    ("output", {"kind": "image", "height": 1, "width": 1, "channels": 4}, "output.channels must be 1 or 3, got 4"),
    ("output", {"kind": "points", "size": 2, "low": [0], "high": [1]}, "output.low and output.high must each have 2 numbers"),
    ("output", {"kind": "points", "size": 1, "low": 5, "high": [9]}, "output.low must be a list, got 5"),
    ("output", {"kind": "points", "size": 1, "low": [1], "high": [1]}, "output: each low must be less than its high"),
    ("output", {"kind": "points", "size": 1, "low": [None], "high": [1]}, "output: each low must be less than its high"),
    ("output", {"kind": "tokens", "length": 1, "vocabulary": "a"}, "output.vocabulary must be 1..1000000, got 'a'"),
    ("goldens", {}, "card.goldens must be a list"),
    ("goldens", [1], "card.goldens: each must have seed, latents and output"),
    ("goldens", [{"seed": 1, "latents": ""}], "card.goldens: each must have seed, latents and output"),
    ("goldens", [{"seed": 1, "latents": "", "output": "AAAA"}], "card.goldens: "),
    ("goldens", [{"seed": 1, "latents": "", "output": "no base64!"}], "card.goldens: "),
    ("goldens", [{"seed": 1, "latents": "", "output": 5}], "card.goldens: "),
    ("goldens", [{"seed": -1, "latents": "", "output": "AAAAAA=="}], "card.goldens: seed must be 0..4294967295, got -1"),
    ("goldens", [{"seed": True, "latents": "", "output": "AAAAAA=="}], "card.goldens: seed must be 0..4294967295, got True"),
    ("goldens", [{"seed": 1, "latents": None, "output": "AAAAAA=="}], "card.goldens: latents must be a SHA-256, got None"),
]


@pytest.mark.parametrize(("key", "false", "message"), FALSE, ids=lambda part: str(part)[:40])
def test_false_values_are_refused(key: str, false: Any, message: str) -> None:
    """A value that a key cannot have is refused, and key, value and what would be right are named."""
    with pytest.raises(CardError) as caught:
        read(json.dumps(example() | {key: false}))
    assert message in str(caught.value)


def test_parameters_follow_from_the_declaration() -> None:
    """One a component, numbered where there are several, in declared order, none for noise of many components."""
    declaration: Latents = {"z": Normal(17), "y": Categorical(10), "c": Uniform(2, -2.0, 3.0), "w": Normal(1), "v": Normal(16)}
    assert list(parameters(declaration).values())[:4] == [
        Parameter("y", "y", 0, True, 0, 9),
        Parameter("c0", "c", 0, False, -2.0, 3.0),
        Parameter("c1", "c", 1, False, -2.0, 3.0),
        Parameter("w", "w", 0, False, -8.0, 8.0),
    ]
    assert list(parameters(declaration))[4:] == [f"v{i}" for i in range(16)]
    assert parameters({"z": Uniform(17)}) == {}
