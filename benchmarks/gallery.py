"""docs/GALLERY.md: one picture per model, made by the service from its file, with the URL that made it.

    python -m benchmarks.gallery                  # train what is missing of the quick recipes, draw, write the page
    python -m benchmarks.gallery --models FOLDER  # draw the models of a folder; other models keep their lines

It serves all models together, as ``make gallery`` does afterwards.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import torch
from PIL import Image

from benchmarks.sheets import in_a_row, sheet
from tests.harness.service import Server, ask, running
from training.__main__ import main as train
from training.data import load
from training.recipes import CATALOGUE

ROOT = Path(__file__).parents[1]
POINTS = 256
MAX_CLASSES = 10
LABELS = ("y", "g", "age")
"""Parameters of which each value has a row."""
SUMS: Mapping[str, tuple[tuple[int, int, int], ...]] = {"vaegan": ((23, 38, 34), (6, 3, 13), (16, 15, 5), (35, 3, 4))}
"""Beginnings of recipes that show ``a - b + c`` of latents, with the seeds of each sum: of one model chosen by eye, so that
``a - b`` is a change of the stroke or of the slant."""
LINE = re.compile(r'^\| .*<img src="[^"]*/([^"/]+)" .*', re.MULTILINE)
"""A line of the page, and its picture."""
QUICK: Mapping[str, tuple[str, ...]] = {
    "toy1d": (),
    "toy1d_minibatch": (),
    "parabola": ("--steps", "3000"),
    "vanilla": ("--steps", "20000", "--data", "mnist5k"),
    "cdcgan_r1": (),
    "cgan_small": ("--steps", "2500", "--data", "mnist5k"),
    "dcgan_small": ("--steps", "600", "--data", "mnist5k"),
    "infogan_small": ("--steps", "500", "--data", "mnist5k"),
    "vae_small": ("--steps", "3000", "--data", "mnist5k"),
    "vaegan_ns_small": ("--steps", "1000", "--data", "mnist5k"),
    "gan_ring8_small": ("--steps", "6000"),
    "pacgan2_ring8_small": ("--steps", "6000"),
    "ppgn_small": ("--steps", "4000", "--data", "mnist5k"),
    "progan_small": ("--steps", "5000", "--data", "mnist5k", "--size", "32"),
    "lapgan_small": ("--steps", "1500", "--data", "mnist5k"),
}
"""Recipes that two cores train in a few minutes each, with what makes them so short."""


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One line of the page."""

    name: str
    recipe: str
    paper: str
    steps: int
    digest: str
    urls: tuple[tuple[str, ...], ...]
    """Relative URLs of each row of the picture, side by side."""
    picture: str
    """File name of the picture."""
    command: str


def train_missing(runs: Path) -> list[Path]:
    """Train the quick recipes that have no model yet; the models' files."""
    models = []
    for recipe, options in QUICK.items():
        run = runs / f"gallery-{recipe}"
        if not (run / "model.onnx").exists() and train(["train", recipe, *options, "--out", str(run)]):
            raise SystemExit(f"gallery: {recipe} was not trained")
        models.append(run / "model.onnx")
    return models


def urls_of(model: Mapping[str, Any]) -> Iterator[tuple[str, ...]]:
    """Relative URLs that show a model of ``/models``: those of a row side by side."""
    route = "transform" if needs_picture(model["card"]) else "generate"
    for query in rows_of(model):
        yield (f"/{route}?{urlencode(query)}",)
    sums = next((SUMS[recipe] for recipe in SUMS if model["card"]["recipe"].startswith(recipe)), ())
    for seeds in sums:
        name = {"model": model["name"]}
        given = [f"/generate?{urlencode({**name, 'seed': seed, 'format': 'png'})}" for seed in seeds]
        yield (*given, f"/arithmetic?{urlencode({**name, **dict(zip('abc', seeds, strict=True)), 'format': 'png'})}")


def rows_of(model: Mapping[str, Any]) -> Iterator[dict[str, object]]:
    """Queries that show a model of ``/models``: a row each."""
    parameters, kind = model["parameters"], model["card"]["output"]["kind"]
    base = {"model": model["name"], "seed": 0}
    if needs_picture(model["card"]):
        yield {**base, "format": "png"}
        return
    if kind != "image":
        yield {**base, "n": POINTS, "format": "png" if kind == "points" else "json"}
        return
    height = model["card"]["output"]["height"]
    columns = 10 if height <= 32 else 5
    codes = [name for name, p in parameters.items() if not p["is_integer"] and name.startswith("c")]
    label = next((p for p in LABELS if p in parameters), None)
    if codes:
        for name in codes:
            low, high = parameters[name]["low"], parameters[name]["high"]
            for position in range(5):
                value = low + (high - low) * position / 4
                yield {**base, "n": columns, "cols": columns, name: f"{value:g}", "format": "png"}
    elif label:
        for value in range(min(MAX_CLASSES, parameters[label]["high"] + 1)):
            yield {**base, "n": columns, "cols": columns, label: value, "format": "png"}
    else:
        yield {**base, "n": 4 * columns, "cols": columns, "format": "png"}


def needs_picture(card: Mapping[str, Any]) -> bool:
    """Whether the model only changes given pictures."""
    return "picture" in card and not card["picture"]["is_optional"]


def given_pictures(card: Mapping[str, Any]) -> list[Image.Image]:
    """Pictures for a model that changes them: of the first test image of each class of its data."""
    recipe = CATALOGUE[card["recipe"]]
    data = load(card["data"], split="test", size=recipe.size, environ=os.environ)
    assert data.labels is not None
    assert recipe.picture is not None
    first = [int((data.labels == label).nonzero()[0]) for label in range(min(MAX_CLASSES, len(data.classes)))]
    levels = (recipe.picture(data.items[first].float() / 127.5 - 1) * 127.5 + 127.5).round().to(torch.uint8)
    return [Image.fromarray(picture.movedim(0, -1).squeeze(-1).numpy()) for picture in levels]


def draw(server: Server, rows: Sequence[Sequence[str]]) -> bytes:
    """The pictures of some rows of URLs, one below the other, as one WebP, lossless if it is small enough."""
    return sheet([in_a_row([_ask(server, url) for url in row]) for row in rows])


def draw_changed(server: Server, url: str, given: Sequence[Image.Image]) -> bytes:
    """Given pictures in one row and what the service makes of them below."""
    changed = [_ask(server, url, picture) for picture in given]
    return sheet([in_a_row(given), in_a_row(changed)])


def _ask(server: Server, url: str, picture: Image.Image | None = None) -> Image.Image:
    """The service's picture; RuntimeError where it answers otherwise."""
    if picture is None:
        status, _, body = server.get(url)
    else:
        buffer = io.BytesIO()
        picture.save(buffer, "PNG")
        status, _, body = ask(server.port, url, "POST", {"Content-Type": "image/png"}, buffer.getvalue())
    if status != 200:
        raise RuntimeError(f"{url} was answered {status}: {body[:200]!r}")
    return Image.open(io.BytesIO(body), formats=["PNG"])


def command_of(file: Path, card: Mapping[str, Any]) -> str:
    """The command that trained a model, from its run directory, or from its card where it lies alone."""
    config = file.with_name("config.json")
    words: dict[str, Any] = {"data": card["data"], "steps": card["steps"]}
    end = ""
    if config.exists():
        content = json.loads(config.read_text())
        words = content["config"]
        if together := content.get("together"):
            end = f" --out RUN; RUN-seed{words['seed']}"
            is_span = together == list(range(together[0], together[-1] + 1))
            seeds = f"{together[0]}-{together[-1]}" if is_span else ",".join(map(str, together))
            words = {**words, "seed": None, "seeds": seeds}
    names = ("data", "size", "steps", "batch", "gate", "seed", "seeds")
    options = [f"--{name} {words[name]}" for name in names if words.get(name)]
    return " ".join(["python -m training train", card["recipe"], *options]) + end


def make_entries(server: Server, files: Mapping[str, Path], pictures: Path) -> list[Entry]:
    """Draw every model that is served and has pictures.

    Args:
        server: the service.
        files: model files by the name of their model.
        pictures: folder of the pictures.
    """
    pictures.mkdir(parents=True, exist_ok=True)
    entries = []
    for model in json.loads(server.get("/models")[2])["models"]:
        card = model["card"]
        urls = tuple(urls_of(model))
        if "format=json" in urls[0][0]:
            continue
        path = pictures / f"{model['name']}.webp"
        is_changing = needs_picture(card)
        path.write_bytes(draw_changed(server, urls[0][0], given_pictures(card)) if is_changing else draw(server, urls))
        entries.append(
            Entry(
                name=model["name"],
                recipe=card["recipe"],
                paper=card["paper"],
                steps=card["steps"],
                digest=model["digest"][:12],
                urls=urls,
                picture=path.name,
                command=command_of(files[model["name"]], card),
            )
        )
    return entries


def make_page(entries: Sequence[Entry], folder: str, before: str = "") -> str:
    """The page as Markdown.

    Args:
        entries: what was drawn.
        folder: of the pictures, relative to the page.
        before: the page as it was; its lines of other models stay.
    """
    head = [
        "# Gallery",
        "",
        "One picture per model, made by the service from the exported file. `make gallery` trains some recipes for a few",
        "minutes each, draws them, writes their lines and serves them all; a model that was trained for longer has its own",
        "command. A URL gives the same bytes from the same model file, always.",
        "",
        "| recipe | picture | made by | trained by |",
        "|---|---|---|---|",
    ]
    lines = {found[1]: found[0] for found in LINE.finditer(before)}
    lines |= {entry.picture: _line(entry, folder) for entry in entries}
    return "\n".join([*head, *(lines[picture] for picture in sorted(lines))]) + "\n"


def _line(entry: Entry, folder: str) -> str:
    url, last = entry.urls[0][0], entry.urls[-1][-1]
    if url.startswith("/transform"):
        url = f"POST {url}, a picture each"
    elif len(entry.urls[-1]) > 1:
        url = f"{url}, then rows of three seeds and {last}"
    elif len(entry.urls) > 1:
        url = f"{url} … {last}, a row each"
    picture = f'<img src="{folder}/{entry.picture}" alt="Samples of {entry.name}" width="280">'
    about = f"`{entry.recipe}`, {entry.steps:,} steps<br>{entry.paper}"
    return f"| {about} | {picture} | `{url}`<br>model `{entry.digest}` | `{entry.command}` |"


def main(arguments: Sequence[str]) -> int:
    """Draw and write; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.gallery", description=__doc__.splitlines()[0] if __doc__ else ""
    )
    parser.add_argument(
        "--models", type=Path, nargs="*", help="model files or folders; by default the quick recipes are trained"
    )
    parser.add_argument("--runs", type=Path, default=Path("runs"), help="folder of the quick recipes' runs")
    parser.add_argument("--docs", type=Path, default=Path("docs"), help="where GALLERY.md is written")
    options = parser.parse_args(arguments)
    given = options.models or train_missing(options.runs)
    files = [file for path in given for file in (sorted(path.glob("**/*.onnx")) if path.is_dir() else [path])]
    with running(ROOT, models=",".join(map(str, files)), workers=1, cache_bytes=0) as server:
        names = [model["name"] for model in json.loads(server.get("/models")[2])["models"]]
        entries = make_entries(server, dict(zip(names, files, strict=True)), options.docs / "gallery")
    page = options.docs / "GALLERY.md"
    page.write_text(make_page(entries, "gallery", page.read_text() if page.exists() else ""))
    print(f"wrote {page}: drew {len(entries)} models")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
