"""Any card comes back as it was, and any damage to one is refused by one kind of error."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contract import (
    MAX_SEED,
    Card,
    CardError,
    Categorical,
    Golden,
    Image,
    Latents,
    Normal,
    Output,
    Points,
    Tokens,
    Uniform,
    card_to_json,
    parameters,
)
from tests.contract.cards import example, read

numbers = st.floats(-1e29, 1e29)
regions = st.tuples(numbers, numbers).filter(lambda pair: pair[0] != pair[1]).map(lambda pair: (min(pair), max(pair)))


def points(region: list[tuple[float, float]]) -> Points:
    return Points(len(region), tuple(low for low, _ in region), tuple(high for _, high in region))


outputs: st.SearchStrategy[Output] = st.one_of(
    st.builds(Image, st.integers(1, 9), st.integers(1, 9), st.sampled_from([1, 3])),
    st.lists(regions, min_size=1, max_size=4).map(points),
    st.builds(Tokens, st.integers(1, 9), st.integers(1, 1000)),
)


latents = st.dictionaries(
    st.from_regex(r"[a-z]{1,3}_?", fullmatch=True).filter(str.isidentifier),
    st.one_of(
        st.builds(Normal, st.integers(1, 2**22)),
        regions.flatmap(lambda pair: st.builds(Uniform, st.integers(17, 99), st.just(pair[0]), st.just(pair[1]))),
        st.builds(Categorical, st.integers(1, 1_000_000)),
    ),
    min_size=1,
    max_size=4,
)


@st.composite
def cards(draw: st.DrawFn) -> Card:
    """Any card that keeps the rules."""
    output = draw(outputs)
    size = int(np.prod(output.shape)) * np.dtype(output.dtype).itemsize
    row = st.binary(min_size=size, max_size=size).map(lambda data: np.frombuffer(data, output.dtype).reshape(output.shape))
    inputs: dict[str, Any] = draw(latents)
    classes = tuple(draw(st.lists(st.text(), max_size=4)))
    if classes:
        inputs["y"] = Categorical(len(classes))
    return Card(
        **{name: draw(st.text()) for name in ("name", "recipe", "paper", "data", "data_licence", "runtime")},  # type: ignore[arg-type]
        latents=inputs,
        output=output,
        classes=classes,
        steps=draw(st.integers(0, 2**60)),
        images=draw(st.integers(0, 2**60)),
        scores=draw(st.dictionaries(st.text(), numbers)),
        versions=draw(st.dictionaries(st.text(), st.text())),
        goldens=tuple(
            draw(st.lists(st.builds(Golden, seed=st.integers(0, MAX_SEED), latents=st.text(), output=row), max_size=3))
        ),
    )


@pytest.mark.slow
@given(card=cards().filter(lambda card: _has_distinct_parameters(card.latents)))
def test_round_trip(card: Card) -> None:
    """Every card comes back as it was: its text, its latents in their order, its goldens bit for bit."""
    text = card_to_json(card)
    found = read(text)
    assert text.isascii()
    assert card_to_json(found) == text
    assert list(found.latents.items()) == list(card.latents.items())
    assert (found.output, found.classes, found.steps) == (card.output, card.classes, card.steps)
    for ours, theirs in zip(found.goldens, card.goldens, strict=True):
        assert (ours.seed, ours.latents, ours.output.dtype) == (theirs.seed, theirs.latents, theirs.output.dtype)
        assert ours.output.tobytes() == theirs.output.tobytes()


def _has_distinct_parameters(declaration: Latents) -> bool:
    try:
        parameters(declaration)
    except CardError:
        return False
    return True


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["kind", "size", "low", "z"]), inner, max_size=3)
    ),
    max_leaves=4,
)


@st.composite
def damaged(draw: st.DrawFn) -> str:
    """The example with one value, anywhere in it, replaced by any other."""
    value = example()
    place: Any = value
    while True:
        key = draw(st.sampled_from(sorted(place) if isinstance(place, dict) else range(len(place))))
        if not isinstance(place[key], dict | list) or not place[key] or draw(st.booleans()):
            break
        place = place[key]
    place[key] = draw(json_values)
    return json.dumps(value)


@pytest.mark.slow
@settings(max_examples=500)
@given(text=damaged())
def test_a_damaged_card_is_refused_or_still_a_card(text: str) -> None:
    """No damage gives anything but a CardError or a card that can be written and read again."""
    try:
        card = read(text)
    except CardError:
        return
    assert card_to_json(read(card_to_json(card))) == card_to_json(card)


@pytest.mark.slow
@given(text=st.text() | json_values.map(json.dumps))
def test_any_text_is_refused(text: str) -> None:
    """What was never a card gives a CardError and nothing else."""
    with pytest.raises(CardError):
        read(text)
