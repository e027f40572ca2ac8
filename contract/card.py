"""The card: a model file's description, one JSON text under one key of the ONNX ``metadata_props``."""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from contract.errors import CardError
from contract.latents import Categorical, Latents, latents_from_json, latents_to_json, parameters
from contract.outputs import Output, output_from_json, output_to_json
from contract.pictures import Inputs, Picture, picture_from_json, picture_to_json
from contract.sampling import MAX_SEED

METADATA_KEY = "gan.card"
SCHEMA = 1
SEED = "seed"
"""The seed in a request: a query parameter, and an input of the Open Inference Protocol. No latent has this name."""
RESERVED = (SEED, "n", "format", "scale", "model")
"""Names that a latent must not have. The list does not grow: of a latent and a later query parameter, a route means its own."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Golden:
    """One row that the exporter computed, by which a reader checks the file and its own runtime."""

    seed: int
    latents: str
    """SHA-256 of the graph's inputs (``digest_latents``): detects a change of NumPy, of ``draw`` or of ``probe_picture``."""
    output: NDArray[Any]
    """The graph's output for this seed, one row: detects a change of weights or of runtime."""

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Golden):
            return NotImplemented
        return (self.seed, self.latents) == (other.seed, other.latents) and np.array_equal(self.output, other.output)

    def __hash__(self) -> int:
        return hash((self.seed, self.latents))


@dataclass(frozen=True, kw_only=True)
class Card:
    """Everything about a model that is not weights. Nothing in it depends on the time or the machine of the export."""

    name: str
    """The name in requests, ``<recipe>-<data>``."""
    recipe: str
    """The training recipe's name."""
    paper: str
    """The publication that the recipe follows."""
    latents: Latents
    """The graph's inputs that the seed draws, in order."""
    picture: Picture | None = None
    """The input that a request gives, after the latents; None for a model that changes no picture."""
    output: Output
    """The graph's one output."""
    classes: tuple[str, ...] = ()
    """The name of each value of the latent ``y``; empty for an unconditional model."""
    data: str
    """The data set's name."""
    data_licence: str
    """The licence of the data, which the samples may carry."""
    steps: int
    """Training steps behind these weights."""
    images: int
    """Real samples shown to the discriminator behind these weights."""
    chosen: str = ""
    """Why these weights were exported and not those of the run's last step; empty for the last step."""
    precision: str = "float32"
    """Numbers in which the nets computed while they were trained, ``float32`` or ``bfloat16``; the graph is float32."""
    scores: Mapping[str, float] = field(default_factory=dict)
    """Metric name to value; each name includes how it was measured."""
    versions: Mapping[str, str] = field(default_factory=dict)
    """Package name to version, of the packages that made the file."""
    runtime: str
    """Runtime class on which the goldens were computed, ``onnxruntime-1.31-cpu-x86_64``."""
    goldens: tuple[Golden, ...] = ()
    """Rows by which a reader checks the file, a few seeds."""


def card_to_json(card: Card) -> str:
    """The card as JSON text, the same text for the same card."""
    value: dict[str, Any] = {"schema": SCHEMA, **{f.name: getattr(card, f.name) for f in fields(card)}}
    value["latents"] = latents_to_json(card.latents)
    value["output"] = output_to_json(card.output)
    # Without them the text of a card is as before these keys, and older readers open it.
    if card.picture is None:
        del value["picture"]
    else:
        value["picture"] = picture_to_json(card.picture)
    if not card.chosen:
        del value["chosen"]
    value["goldens"] = [
        {"seed": g.seed, "latents": g.latents, "output": base64.b64encode(g.output.tobytes()).decode()} for g in card.goldens
    ]
    return json.dumps(value, ensure_ascii=True, separators=(",", ":"), allow_nan=False)


def card_from_metadata(metadata: Mapping[str, str]) -> Card:
    """The card in a model's metadata.

    Raises:
        CardError: there is none, or a key is missing, unknown or has an impossible value; the message names it.
    """
    if METADATA_KEY not in metadata:
        way = "`python -m training adopt` makes a model file of a generator from elsewhere"
        raise CardError(f"the model has no card: metadata key {METADATA_KEY!r} is missing; {way}")
    try:
        value = json.loads(metadata[METADATA_KEY])
    except (ValueError, RecursionError) as error:
        raise CardError(f"the card is not JSON: {error}") from None
    if not isinstance(value, dict):
        raise CardError(f"the card must be a JSON object, got {type(value).__name__}")
    try:
        _check_texts(value)
        return _card_from_json(value)
    except RecursionError:  # Python 3.14 reads JSON that nests deeper than a message about it can
        raise CardError("the card has a value that is nested too deep") from None


def _check_texts(value: dict[str, Any]) -> None:
    """Check that all text can be written: JSON may escape half of a surrogate pair, which no encoding has.

    Raises:
        CardError: naming the key and the half.
    """
    for key, part in value.items():
        try:
            json.dumps({key: part}, ensure_ascii=False).encode()
        except UnicodeEncodeError as error:
            raise CardError(
                f"the card's {key!a} has {error.object[error.start]!a}, half of a surrogate pair and no character"
            ) from None


def _card_from_json(value: dict[str, Any]) -> Card:
    schema = value.pop("schema", None)
    if schema != SCHEMA:
        raise CardError(f"card.schema must be {SCHEMA}, got {schema!r}")
    known = {f.name for f in fields(Card)}
    value.setdefault("precision", "float32")  # files from before the key
    has_picture = "picture" in value
    value.setdefault("picture", None)
    value.setdefault("chosen", "")
    for problem, names in (("lacks", known - value.keys()), ("has unknown", value.keys() - known)):
        if names:
            raise CardError(f"the card {problem} {', '.join(sorted(names))}")
    for name in ("name", "recipe", "paper", "data", "data_licence", "chosen", "precision", "runtime"):
        if not isinstance(value[name], str):
            raise CardError(f"card.{name} must be text, got {value[name]!r}")
    for name in ("steps", "images"):
        if type(value[name]) is not int or value[name] < 0:
            raise CardError(f"card.{name} must be a count, got {value[name]!r}")
    for name, kind, is_one in (("scores", "finite numbers", _is_number), ("versions", "text", _is_text)):
        if not isinstance(value[name], dict) or not all(map(is_one, value[name].values())):
            raise CardError(f"card.{name} must be an object of {kind}, got {value[name]!r}")
    output = output_from_json(value["output"])
    latents = latents_from_json(value["latents"])
    parameters(latents)
    return Card(
        **{
            **value,
            "latents": latents,
            "picture": picture_from_json(value["picture"], latents) if has_picture else None,
            "output": output,
            "classes": _classes(value["classes"], latents),
            "goldens": tuple(_golden(g, output) for g in _list("goldens", value["goldens"])),
        }
    )


def _is_number(value: Any) -> bool:
    return type(value) in (int, float) and -1e300 < value < 1e300


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _list(name: str, value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise CardError(f"card.{name} must be a list, got {value!r}")
    return value


def _classes(value: Any, latents: Latents) -> tuple[str, ...]:
    if not all(map(_is_text, _list("classes", value))):
        raise CardError(f"card.classes must be a list of text, got {value!r}")
    if value and latents.get("y") != Categorical(len(value)):
        raise CardError(f"card.classes has {len(value)} names, but the latent y is {latents.get('y')}")
    return tuple(value)


def _golden(value: Any, output: Output) -> Golden:
    if not isinstance(value, dict) or value.keys() != {"seed", "latents", "output"}:
        raise CardError("card.goldens: each must have seed, latents and output and nothing else")
    try:
        data = np.frombuffer(base64.b64decode(value["output"], validate=True), output.dtype).reshape(output.shape)
        golden = Golden(seed=value["seed"], latents=value["latents"], output=data)
    except (TypeError, ValueError, binascii.Error) as error:
        raise CardError(f"card.goldens: {error!r}") from None
    if type(golden.seed) is not int or not 0 <= golden.seed <= MAX_SEED:
        raise CardError(f"card.goldens: seed must be 0..{MAX_SEED}, got {golden.seed!r}")
    if not _is_text(golden.latents):
        raise CardError(f"card.goldens: latents must be a SHA-256, got {golden.latents!r}")
    return golden


def check_names(card: Card) -> None:
    """Check that the names of the model and of its parameters can stand in a URL, and that no latent is called as the seed is.

    The Open Inference Protocol has an input ``seed`` next to all latents, also those without parameters.

    Raises:
        CardError: one cannot, or a latent takes the name of a query parameter that every model has.
    """
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", card.name):
        raise CardError(f"card.name must be 1..64 letters, digits, dots and dashes, got {card.name!r}")
    check_latent_names(card.latents)


def check_latent_names(latents: Latents) -> None:
    """Check that the names of the parameters that these latents give can stand in a URL, and that none is the seed's.

    Raises:
        CardError: one cannot, or a latent takes the name of a query parameter that every model has.
    """
    if SEED in latents:
        raise CardError(f"card.latents has one called {SEED}, which is the name of the seed in a request")
    for name in parameters(latents):
        if name in RESERVED or not re.fullmatch(r"[A-Za-z0-9_]{1,32}", name):
            raise CardError(
                f"card.latents gives the parameter {name!r}, which is reserved or not 1..32 letters, digits and underscores"
            )


def digest_latents(inputs: Inputs, row: int) -> str:
    """SHA-256 over one row of every latent, in declared order, and of the picture, little-endian."""
    digest = hashlib.sha256()
    for values in inputs.values():
        digest.update(np.ascontiguousarray(values[row]).astype(values.dtype.newbyteorder("<")).tobytes())
    return digest.hexdigest()
