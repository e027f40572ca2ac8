"""The page at ``/``: of each model a contact sheet and the line that asks for one sample."""

from __future__ import annotations

from collections.abc import Sequence

from contract import Image
from serving.encoders import FORMATS
from serving.models import Model
from serving.parameters import GENERATE
from serving.settings import Settings

PAGE = """<!doctype html>
<html lang="en"><meta charset="utf-8"><title>{title}</title>
<style>body{{font:16px/1.5 system-ui,sans-serif;max-width:44rem;margin:2rem auto;padding:0 1rem}}img{{image-rendering:pixelated;
max-width:100%;border:1px solid #ccc}}code{{background:#f2f3f5;padding:.1em .3em}}</style>
<h1>{title}</h1>
{models}
<p>Each answer follows from its seed alone. <a href="/models">/models</a> tells what can be asked,
<a href="/metrics">/metrics</a> what has been.</p>
</html>
"""
ENTRY = """<h2>{name}</h2>
{picture}
<p><code>curl '{origin}/generate?model={name}&amp;seed=42' -o 42.{suffix}</code></p>
<p>Parameters: {parameters}. Formats: {formats}.</p>"""


def render_page(models: Sequence[Model], settings: Settings) -> str:
    """The page as HTML; names of models and parameters hold no character that HTML would mind."""
    return PAGE.format(title="Samples by seed", models="\n".join(_entry(model, settings) for model in models))


def _entry(model: Model, settings: Settings) -> str:
    name, formats = model.card.name, list(FORMATS[model.card.output.kind])
    source = f"/generate?model={name}&amp;seed=0&amp;n={min(32, settings.max_images)}&amp;format=png"
    picture = f'<p><img src="{source}" alt="Samples of {name}, seeds from 0"></p>' if "png" in formats else ""
    if model.card.output.kind == Image.kind:
        way = f"/walk?model={name}&amp;from=0&amp;to=1&amp;back=on&amp;scale=2"
        picture += f'<p><img src="{way}" alt="The way from seed 0 to seed 1 of {name}, and back"></p>'
    return ENTRY.format(name=name, picture=picture, suffix=formats[0], origin=f"http://localhost:{settings.port}",
                        parameters=", ".join([*GENERATE, *model.parameters]), formats=", ".join(formats))  # fmt: skip
