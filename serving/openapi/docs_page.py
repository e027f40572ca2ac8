"""The page at ``/docs``: the OpenAPI document as HTML that loads nothing and runs nothing."""

from __future__ import annotations

import json
from collections.abc import Iterable
from html import escape

from serving.openapi.schemas import Schema

PAGE = """<!doctype html>
<html lang="en"><meta charset="utf-8"><title>{title}</title>
<style>body{{font:15px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem}}
table{{border-collapse:collapse;width:100%;margin:.5rem 0}}
td,th{{border:1px solid #ddd;padding:.2em .5em;text-align:left;vertical-align:top}}
code,pre{{background:#f2f3f5;padding:.1em .3em}}pre{{overflow:auto;padding:.5em}}summary{{cursor:pointer;padding:.3em 0}}
section{{border-top:1px solid #ddd}}</style>
<h1>{title} {version}</h1>
<p>{description}</p>
<p>For programs: <a href="/openapi.json">/openapi.json</a> (OpenAPI {openapi}).</p>
{operations}
<h2>Schemas</h2>
{schemas}
</html>
"""


def render_docs(document: Schema) -> str:
    """Return the page."""
    info = document["info"]
    operations = [
        _operation(method, path, operation)
        for path, item in document["paths"].items()
        for method, operation in item.items()
        if method != "head"
    ]
    schemas = [_folded(name, schema) for name, schema in document["components"]["schemas"].items()]
    return PAGE.format(
        title=escape(info["title"]),
        version=escape(info["version"]),
        openapi=document["openapi"],
        description=_code(info["description"]).replace("\n\n", "</p>\n<p>"),
        operations="\n".join(operations),
        schemas="\n".join(schemas),
    )


def _code(text: str) -> str:
    """Return text as HTML, with what stands between backquotes as code."""
    parts = escape(text).split("`")
    return "".join(f"<code>{part}</code>" if index % 2 else part for index, part in enumerate(parts))


def _operation(method: str, path: str, operation: Schema) -> str:
    name = f"{method.upper()} {path}"
    parameters = [
        (f"<code>{escape(p['name'])}</code>", escape(p["in"]), _schema(p["schema"]), _code(p["description"]))
        for p in operation["parameters"]
    ]
    responses = [
        (
            status,
            _code(response["description"]),
            ", ".join(f"<code>{escape(kind)}</code>" for kind in response.get("content", {})),
            ", ".join(response["headers"]),
        )
        for status, response in operation["responses"].items()
    ]
    body = [
        _folded(f"Body: {kind}", media["schema"]) for kind, media in operation.get("requestBody", {}).get("content", {}).items()
    ]
    return "\n".join(
        [
            f'<section id="{escape(operation["operationId"])}">',
            f"<details><summary><code>{escape(name)}</code> {_code(operation['summary'])}</summary>",
            f"<p>{_code(operation['description'])}</p>" if operation["description"] else "",
            _table(("parameter", "in", "value", ""), parameters) if parameters else "",
            *body,
            _table(("status", "when", "content", "headers"), responses),
            "</details></section>",
        ]
    )


def _table(titles: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    head = "".join(f"<th>{title}</th>" for title in titles)
    lines = ["<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>" for row in rows]
    return f"<table><tr>{head}</tr>{''.join(lines)}</table>"


def _schema(schema: Schema) -> str:
    """Return a parameter's schema in short: its range or its choices, and its default."""
    if "anyOf" in schema:
        return " or ".join(map(_schema, schema["anyOf"]))
    words = [str(schema.get("type", ""))]
    if "minimum" in schema:
        words.append(f"{schema['minimum']}..{schema['maximum']}")
    if "enum" in schema:
        words.append(", ".join(map(str, schema["enum"])))
    if "pattern" in schema:
        words.append(schema["pattern"])
    if "default" in schema:
        words.append(f"(default {schema['default']})")
    return escape(" ".join(filter(None, words)))


def _folded(title: str, schema: Schema) -> str:
    return f"<details><summary>{escape(title)}</summary><pre>{escape(json.dumps(schema, indent=1))}</pre></details>"
