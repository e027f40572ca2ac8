"""A model that is replaced while the page is open, in one process or, for a while, in one of two."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from itertools import cycle, repeat
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.browser.conftest import RequestContext, Visitor, slide
from tests.harness.processes import wait_until
from tests.harness.service import Server, running
from tests.serving import tiny_onnx

pytestmark = pytest.mark.process

if TYPE_CHECKING:
    from playwright.sync_api import Route

SAMPLE = re.compile(r"/generate\?(?!.*&n=)")
MODELS = re.compile(r"/models$")
PIXELS = """image => {
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [28, 28];
  canvas.getContext("2d").drawImage(image, 0, 0);
  return [...canvas.getContext("2d").getImageData(0, 0, 28, 28).data].filter((_, i) => i % 4 === 0);
}"""


@pytest.fixture(scope="module")
def newer(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A second service, whose model of the first one's name has other weights."""
    folder = tmp_path_factory.mktemp("newer")
    (folder / "a.onnx").write_bytes(tiny_onnx.conditional(hidden=(32,)))
    with running(root, models=folder) as server:
        yield server


def balance(visit: RequestContext, pattern: re.Pattern[str], servers: Iterator[Server]) -> None:
    """Have requests answered by one service after the other, as behind a balancer."""

    def answer(route: Route) -> None:
        url = route.request.url.replace(visit.origin, f"http://127.0.0.1:{next(servers).port}")
        route.fulfill(response=route.fetch(url=url))

    visit.page.route(pattern, answer)


@pytest.mark.parametrize(("is_in_turns", "samples"), [(False, 1), (True, 2)])
def test_services_that_disagree_are_not_asked_without_end(
    visit: RequestContext, server: Server, newer: Server, is_in_turns: bool, samples: int
) -> None:
    """Of a seed that is chosen there are at most two requests, and the models are read once, whichever process answers."""
    balance(visit, SAMPLE, cycle([newer, server]) if is_in_turns else repeat(newer))
    balance(visit, MODELS, cycle([newer, server]) if is_in_turns else repeat(server))
    before = len(visit.requests())
    visit.page.get_by_role("button", name="Seed 5", exact=True).click()
    visit.page.locator("#result", has_text="Seed 5 of").wait_for()

    def asked() -> list[str]:
        visit.page.wait_for_timeout(50)  # the page goes on, and its requests are noted
        return [path for path in visit.requests()[before:] if "&n=" not in path]

    wait_until(lambda: len(asked()) > samples, "the models are read, and the sample once more")
    visit.page.wait_for_timeout(1000)
    visit.settle()
    sample = "/generate?model=conditional&seed=5&format=png"
    assert asked() == [sample, "/models", sample][: samples + 1]
    assert visit.result().startswith("Seed 5 of conditional")


def test_the_operands_are_shown_by_the_model_that_replaced_theirs(visitor: Visitor, root: Path, tmp_path: Path) -> None:
    """After a swap the small pictures of both ends are the newer model's, as the sample between them is."""
    path, token = tmp_path / "a.onnx", "0123456789abcdef"
    path.write_bytes(tiny_onnx.conditional())
    with running(root, models=tmp_path, admin_token=token) as server:
        visit = visitor("#view=between&a=5&b=9", server)
        (tmp_path / "new").write_bytes(tiny_onnx.conditional(hidden=(32,)))
        (tmp_path / "new").rename(path)
        assert server.get("/admin/reload", "POST", {"Authorization": f"Bearer {token}"})[0] == 200
        slide(visit, "Place", 0.25)
        visit.page.get_by_text("the model was replaced by a newer one").wait_for()
        visit.settle()
        for place, seed in enumerate((5, 9)):
            right = json.loads(server.get(f"/generate?model=conditional&seed={seed}&format=json")[2])["data"][0]
            shown = visit.page.locator(".thumb img").nth(place).evaluate(PIXELS)
            assert shown == [pixel[0] for row in right for pixel in row]
