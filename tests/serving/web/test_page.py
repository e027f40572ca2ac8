"""The web page and its files as served; its behaviour in a browser is tested in ``tests/browser``."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from contract.card import RESERVED
from serving.generation.parameters import ARITHMETIC, GENERATE, MIX, WALK
from serving.http.asgi import ASGIApp
from serving.web.page import DOCUMENT, MEDIA_TYPES, static_files
from tests.serving.client import ask

LOADED = re.compile(r'(?:src|href)="(/static/[^"]+)"|from "\./([^"]+)"')


def loaded(text: str) -> set[str]:
    """Names of the files that an HTML document or a module loads."""
    return {(address or module).rpartition("/")[2] for address, module in LOADED.findall(text)}


def test_the_page_has_no_inline_code(app: ASGIApp) -> None:
    """The policy allows scripts and styles of this service only; the page has no inline script, style or handler."""
    page = ask(app, path="/")
    text = page.body.decode()
    policy = dict(rule.split(" ", 1) for rule in page.headers["Content-Security-Policy"].split("; "))
    assert policy == {
        "default-src": "'none'",
        "script-src": "'self'",
        "style-src": "'self'",
        "img-src": "'self' blob:",
        "connect-src": "'self'",
        "base-uri": "'none'",
        "form-action": "'none'",
        "frame-ancestors": "'none'",
    }
    assert not re.search(r"<script(?![^>]* src=)|<style|\sstyle=|\son\w+=", text)
    assert (page.headers["X-Content-Type-Options"], page.headers["Referrer-Policy"]) == ("nosniff", "no-referrer")


def test_the_page_has_the_limits(app: ASGIApp) -> None:
    """The limits of the settings are attributes of the page, so that it sends no request that is refused."""
    found = dict(re.findall(r'data-max-(\w+)="(\d+)"', ask(app, path="/").body.decode()))
    assert found == {"images": "256", "frames": "256", "scale": "16", "pixels": "16777216"}


def test_static_files_are_those_loaded(app: ASGIApp) -> None:
    """The page and its modules load exactly the files of the folder."""
    texts = [ask(app, path="/").body.decode(), *(file.body.decode() for file in static_files().values())]
    assert set().union(*map(loaded, texts)) == static_files().keys()


def test_a_latent_named_as_a_parameter_is_not_sent_to_its_route() -> None:
    """The page has each route's parameters whose names a latent may have, such as ``cols``: the route's parameter wins."""
    (table,) = re.findall(r"const OWN = {(.*?)};", static_files()["urls.js"].body.decode(), re.DOTALL)
    own = {route: json.loads(names) for route, names in re.findall(r"(\w+): (\[.*?\])", table)}
    routes = {"generate": GENERATE, "mix": MIX, "walk": WALK, "arithmetic": ARITHMETIC}
    assert own == {name: [parameter for parameter in route if parameter not in RESERVED] for name, route in routes.items()}


@pytest.mark.parametrize("name", static_files())
def test_a_file_is_served_under_its_type(app: ASGIApp, name: str) -> None:
    """A file has its media type, nosniff and an ETag for 304, and no URL of another host."""
    path = f"/static/{name}"
    file = ask(app, path=path)
    assert (file.status, file.headers["Content-Type"]) == (200, MEDIA_TYPES[Path(name).suffix])
    assert (file.headers["X-Content-Type-Options"], file.headers["Cache-Control"]) == ("nosniff", "no-cache")
    assert int(ask(app, path=path, method="HEAD").headers["Content-Length"]) == len(file.body)
    again = ask(app, path=path, headers={"If-None-Match": file.headers["ETag"]})
    assert (again.status, again.body) == (304, b"")
    assert set(re.findall(r"https?://[\w.]+", file.body.decode())) <= {"http://www.w3.org"}  # SVG's namespace


@pytest.mark.parametrize("name", [DOCUMENT, "no.js", "..%2fapp.py", "%2e%2e/app.py", "", "../app.py"])
def test_other_files_are_not_found(app: ASGIApp, name: str) -> None:
    """The page's template, missing files and paths outside the folder are 404."""
    assert ask(app, path=f"/static/{name}").status == 404
