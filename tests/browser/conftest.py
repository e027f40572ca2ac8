"""Debian's Chromium, the real service with a model of each kind, and a page that keeps account of all it asks for."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest

from tests.harness.service import Server, running
from tests.serving import tiny_onnx

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@dataclass
class RequestContext:
    """A page that is open, and what it has asked for."""

    page: Page
    origin: str
    asked: list[str] = field(default_factory=list)
    """Paths with their queries, in order."""
    outside: list[str] = field(default_factory=list)
    """Addresses of other hosts."""
    complaints: list[str] = field(default_factory=list)
    """What the browser's console says: breaches of the policy, errors."""

    def open(self, hash: str = "") -> None:
        """Show the page at an address, with its sample and its wall."""
        self.page.goto(f"{self.origin}/{hash}")
        self.settle()

    def settle(self) -> None:
        """Wait until nothing is under way any more."""
        self.page.locator("[aria-busy=true]").first.wait_for(state="detached")

    def samples(self, route: str = "/generate") -> list[str]:
        """What was asked of a route for one sample, in order."""
        return [path for path in self.asked if path.startswith(f"{route}?") and "&n=" not in path]

    def requests(self) -> list[str]:
        """What was asked but the page's own files, in order."""
        return [path for path in self.asked if not path.startswith("/static/")]

    def result(self) -> str:
        """What the page says of the sample."""
        return self.page.locator("#result").inner_text()

    def problem(self) -> str:
        """What the page says is wrong."""
        return self.page.locator("#problem").inner_text()


def fill(visit: RequestContext, label: str, text: str) -> None:
    """Type into a field, and wait for what comes of it."""
    field = visit.page.get_by_label(label, exact=True)
    field.fill(text)
    field.press("Enter")
    visit.settle()


def slide(visit: RequestContext, label: str, *values: float) -> None:
    """Move a slider as a hand does: one event after the other, without waiting for an answer."""
    visit.page.get_by_label(label, exact=True).evaluate(
        "(slider, values) => { for (const v of values) { slider.value = v; slider.dispatchEvent(new Event('input')); } }",
        list(values),
    )
    visit.settle()


@pytest.fixture(scope="session")
def model_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of each kind; the points are said to be learned from ring8."""
    folder = tmp_path_factory.mktemp("page")
    makers: list[Callable[[], bytes]] = [
        tiny_onnx.conditional,
        tiny_onnx.grey,
        lambda: tiny_onnx.points(2, data="ring8"),
        tiny_onnx.tokens,
        tiny_onnx.colour,
        lambda: tiny_onnx.points(1),
        lambda: tiny_onnx.points(9),
    ]
    for place, make in enumerate(makers):
        (folder / f"{place}.onnx").write_bytes(make())
    return folder


@pytest.fixture(scope="session")
def server(root: Path, model_folder: Path) -> Iterator[Server]:
    """The service as it is started by hand."""
    with running(root, models=model_folder) as server:
        yield server


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Chromium; for one module at a time, since its loop lets no other one run on this thread."""
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("there is no chromium here (Debian: chromium)")
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=chromium, args=FLAGS)
        yield browser
        browser.close()


Visitor = Callable[..., RequestContext]


@pytest.fixture
def visitor(browser: Browser, server: Server) -> Iterator[Visitor]:
    """Opens pages; at the end of the test none of them may have asked another host or broken its policy."""
    visits: list[RequestContext] = []

    def visit(hash: str = "", at: Server = server, **options: Any) -> RequestContext:
        context = browser.new_context(**{"viewport": {"width": 1280, "height": 900}, "reduced_motion": "reduce", **options})
        made = RequestContext(context.new_page(), f"http://127.0.0.1:{at.port}")
        visits.append(made)
        made.page.on("request", lambda request: _note(made, request.url))
        made.page.on("console", lambda message: made.complaints.append(message.text))
        made.page.on("pageerror", lambda error: made.complaints.append(str(error)))
        made.open(hash)
        return made

    yield visit
    for made in visits:
        made.page.context.close()
    assert [address for made in visits for address in made.outside] == []
    assert [said for made in visits for said in made.complaints if "Failed to load resource" not in said] == []


def _note(visit: RequestContext, address: str) -> None:
    parts = urlsplit(address)
    if address.startswith(visit.origin + "/"):
        visit.asked.append(f"{parts.path}?{parts.query}" if parts.query else parts.path)
    elif not address.startswith((f"blob:{visit.origin}/", "data:")):
        visit.outside.append(address)


@pytest.fixture
def visit(visitor: Visitor) -> RequestContext:
    """The page as it opens."""
    return visitor()
