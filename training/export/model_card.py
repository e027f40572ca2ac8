"""``python -m training card``: a model file's card as the README.md of a Hugging Face repository, or as plain JSON."""

from __future__ import annotations

import hashlib
import json
import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Annotated, Any, Literal

import onnx
import tyro
from rich.console import Console

from contract import Card, CardError, Categorical, Image, Latent, Normal, Picture, Uniform, card_from_metadata
from contract.card import card_to_json
from contract.pictures import HAS_PICTURE, PICTURE
from training.errors import TrainingError
from training.files import is_stream, model_file, read_model, write_whole

LICENCES = {"CC BY-SA 3.0": "cc-by-sa-3.0", "CC BY 4.0": "cc-by-4.0", "CC0": "cc0-1.0", "MIT": "mit", "Apache": "apache-2.0"}
"""Beginnings of a card's licence, and the identifiers that Hugging Face has for them."""


@dataclass(frozen=True, kw_only=True)
class ExportCard:
    """Write the card of a model file as README.md with a YAML head, as Hugging Face reads it, or as plain JSON."""

    model: tyro.conf.Positional[Path]
    """Model file, or the run directory that holds it."""
    format: Annotated[Literal["markdown", "json"], tyro.conf.arg(name="format")] = "markdown"
    """markdown is for the README.md of a Hugging Face repository; json is the card without its goldens."""
    out: Path | None = None
    """File to write; by default README.md or card.json next to the model, and NAME-README.md or NAME-card.json of NAME.onnx."""

    def __call__(self, console: Console) -> int:
        model = model_file(self.model)
        card, digest = read_card(model)
        out = self.out or next_to(model, "README.md" if self.format == "markdown" else "card.json")
        if out.exists() and out.samefile(model):
            raise TrainingError(f"--out {out} is the model file itself, which would be replaced: name another one")
        if self.out is None and not _is_replaceable(out):
            raise TrainingError(f"{out} was not written by `card`: move it, or name a file with --out")
        text = as_markdown(card, model.name, digest) if self.format == "markdown" else as_json(card, digest)
        write_whole(out, text.encode())
        if not is_stream(out):
            console.print(f"wrote {out}: the card of {card.name}", markup=False, highlight=False)
        return 0


def next_to(model: Path, name: str) -> Path:
    """Where an output of a model file is, in its folder: by that name, or, of NAME.onnx, NAME-name.

    Files called model.onnx or model-VARIANT.onnx are those of a run directory, which holds one model.
    """
    is_of_run = re.fullmatch("model(-.*)?", model.stem, re.DOTALL) is not None
    return model.with_name(name if is_of_run else f"{model.stem}-{name}")


def _is_replaceable(out: Path) -> bool:
    """Whether a place is free, or has a page or JSON that ``card`` wrote."""
    if not out.is_file():
        return True
    text = out.read_text(errors="replace")
    if out.suffix == ".json":
        return text.startswith('{\n  "sha256": ')
    head = text.split("\n---\n")[0]
    return head.startswith("---\n") and 'library_name: "onnx"' in head and '"gan-serve"' in head


def read_card(model: Path) -> tuple[Card, str]:
    """The card of a model file, and the file's SHA-256.

    Raises:
        TrainingError: the file cannot be read, is no ONNX model, or has no card.
    """
    content = read_model(model)
    try:
        metadata = {entry.key: entry.value for entry in onnx.load_from_string(content).metadata_props}
        return card_from_metadata(metadata), hashlib.sha256(content).hexdigest()
    except CardError as error:
        raise TrainingError(f"{model}: {error}") from None
    except Exception:  # protobuf's errors share no base class
        raise TrainingError(f"{model} is not an ONNX model") from None


def as_json(card: Card, digest: str) -> str:
    """The card as readable JSON, with the file's digest and without the goldens' arrays."""
    value = json.loads(card_to_json(card))
    del value["goldens"]
    return json.dumps({"sha256": digest, **value}, indent=2, ensure_ascii=False) + "\n"


def as_markdown(card: Card, file: str, digest: str) -> str:
    """The card as a page: a YAML head, what the model makes, how it is used, its inputs, and where it comes from."""
    card, file = _plain(card), _line(file)
    data = f"{card.data}, licence: {card.data_licence}."
    steps = f" {card.steps:,} training steps, {card.images:,} real samples shown." if card.steps else ""
    chosen = f" Chosen for the {card.chosen}." if card.chosen else ""
    inputs = "\n".join(f"| `{name}` | {text} |" for name, text in _inputs(card).items())
    classes = ", ".join(f"{value} {name}" for value, name in enumerate(card.classes))
    parts = [
        _head(card),
        f"# {card.name}",
        f"A generator that {_made(card)}, as one ONNX file: `{file}`. {_promise(card.picture)}",
        *([f"Paper: {card.paper}."] if card.paper else []),
        "## Use",
        "\n".join(
            ["```sh", "pip install 'gan-serve[serve,client]'", f"gan-serve {shlex.quote(file)}", *_commands(card), "```"]
        ),
        *([] if _is_needed(card.picture) else [_program(card)]),
        "The file also runs in onnxruntime alone; seeds are turned into its inputs by `contract.draw`.",
        f"| input | |\n|---|---|\n{inputs}",
        *([f"Classes, the values of `y`: {classes}."] if classes else []),
        "## Training",
        f"Recipe `{card.recipe}` on {data}{steps}{chosen} The samples may carry the licence of the data.",
        *([_table("measure", "value", {name: f"{value:g}" for name, value in card.scores.items()})] if card.scores else []),
        "## Provenance",
        _table("", "", {"SHA-256 of the file": f"`{digest}`", "goldens computed on": card.runtime, **card.versions}),
    ]
    return "\n\n".join(parts) + "\n"


def _plain(card: Card) -> Card:
    """The card with each text in one line without Markdown's code and HTML: the file may be of a stranger."""
    values = {field.name: getattr(card, field.name) for field in fields(card)}
    texts: dict[str, Any] = {name: _line(value) for name, value in values.items() if isinstance(value, str)}
    return replace(
        card,
        **texts,
        latents={_line(name): latent for name, latent in card.latents.items()},
        classes=tuple(map(_line, card.classes)),
        scores={_line(name): value for name, value in card.scores.items()},
        versions={_line(name): _line(value) for name, value in card.versions.items()},
    )


def _line(text: str) -> str:
    """A text in one line, without control characters, backticks, vertical lines and opening angle brackets."""
    kept = "".join(letter if letter.isprintable() else " " for letter in text)
    return " ".join(kept.replace("`", "'").replace("|", "/").replace("<", "(").split())


def _head(card: Card) -> str:
    """YAML that Hugging Face reads. A text in double quotes is the same in JSON and in YAML."""
    known = next((name for begin, name in LICENCES.items() if card.data_licence.startswith(begin)), None)
    licence = {"license": known} if known else {"license": "other"}
    task = "unconditional-image-generation" if card.picture is None else "image-to-image"
    tag = {"pipeline_tag": task} if isinstance(card.output, Image) else {}
    head = {**licence, **tag, "library_name": "onnx", "tags": ["gan", "onnx", "gan-serve", card.recipe]}
    return "\n".join(["---", *(f"{key}: {json.dumps(value, ensure_ascii=False)}" for key, value in head.items()), "---"])


def _made(card: Card) -> str:
    """What the generator does, beginning with a verb."""
    output = card.output
    made = _pictures(output) if isinstance(output, Image) else f"{output.kind} of shape {list(output.shape)}"
    if card.picture is None:
        return f"makes {made}"
    given = _pictures(card.picture)
    return f"turns {given} into {made}" if _is_needed(card.picture) else f"makes {made}, or turns {given} into such ones"


def _pictures(one: Image | Picture) -> str:
    return f"{'grey' if one.channels == 1 else 'RGB'} pictures of {one.width}x{one.height} pixels"


def _promise(picture: Picture | None) -> str:
    return f"The same {'seed gives' if picture is None else 'picture and seed give'} the same bytes."


def _is_needed(picture: Picture | None) -> bool:
    """Whether the service makes nothing of a seed alone."""
    return picture is not None and not picture.is_optional


def _commands(card: Card) -> list[str]:
    """Requests that the service answers, for a shell."""
    file, form = ("-o {}.png ", "") if isinstance(card.output, Image) else ("", "&format=json")
    body = "-H 'Content-Type: image/png' --data-binary @picture.png"
    generate = f"curl {file.format(42)}'localhost:8000/generate?seed=42{form}'"
    transform = f"curl {file.format('changed')}{body} 'localhost:8000/transform?seed=42{form}'"
    return [generate] * (not _is_needed(card.picture)) + [transform] * (card.picture is not None)


def _program(card: Card) -> str:
    array = f"{card.output.dtype} {list(card.output.shape)}"
    return f"```python\nfrom gan_serve import Client\n\nrow = Client('http://localhost:8000').image(seed=42)  # {array}\n```"


def _inputs(card: Card) -> dict[str, str]:
    """The graph's inputs by name, each in words."""
    found = {name: _input(latent) for name, latent in card.latents.items()}
    if card.picture is not None:
        found[PICTURE] = f"uint8 [n,{','.join(map(str, card.picture.shape))}], the picture to change"
        if card.picture.is_optional:
            found[HAS_PICTURE] = "bool [n], whether the row has a picture"
    return found


def _input(latent: Latent) -> str:
    match latent:
        case Normal():
            return f"float32 [n,{latent.size}], standard normal"
        case Uniform():
            return f"float32 [n,{latent.size}], uniform in [{latent.low:g},{latent.high:g}]"
        case Categorical():
            return f"int64 [n], 0 to {latent.classes - 1}"


def _table(left: str, right: str, rows: Mapping[str, str]) -> str:
    return "\n".join([f"| {left} | {right} |", "|---|---|", *(f"| {name} | {value} |" for name, value in rows.items())])
