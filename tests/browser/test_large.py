"""The wall of a model of large pictures: a few at a time, as they come into view."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from contract import Image
from tests.browser.conftest import RequestContext, Visitor
from tests.harness.service import Server, running
from tests.serving import tiny_onnx

pytestmark = pytest.mark.process
NARROW = {"viewport": {"width": 360, "height": 640}}
"""A telephone: some of the tiles are below its screen."""


@pytest.fixture(scope="module")
def large(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A service of one model of 128x128 pixels."""
    model = tmp_path_factory.mktemp("large") / "large.onnx"
    model.write_bytes(tiny_onnx.build("large", tiny_onnx.GREY, Image(128, 128, 1)))
    with running(root, models=model) as server:
        yield server


def requested(visit: RequestContext) -> list[int]:
    """The first seed of each request of four pictures, in order."""
    return [int(match[1]) for path in visit.asked if (match := re.search(r"seed=(\d+)&n=4&", path))]


def wait_for_all(visit: RequestContext) -> None:
    """Scroll to the last tile, and wait until each of the 24 shows its picture."""
    visit.page.locator(".tile").last.scroll_into_view_if_needed()
    visit.page.wait_for_function("() => document.querySelectorAll('.tile canvas[data-drawn]').length === 24")


def test_tiles_are_requested_as_they_come_into_view(visitor: Visitor, large: Server) -> None:
    """Four at a time and none twice; the last ones once the page was scrolled down."""
    visit = visitor(at=large, **NARROW)
    visit.page.locator(".tile canvas[data-drawn]").first.wait_for()
    visit.settle()
    assert len(requested(visit)) < 6
    wait_for_all(visit)
    assert sorted(requested(visit)) == list(range(0, 24, 4))


@pytest.mark.parametrize(
    ("limit", "frames", "sheet"), [(10 * 128 * 128, "&frames=6", 9), (46 * 128 * 128, "", 16), (2 * 128 * 128, "&frames=2", 1)]
)
def test_the_page_asks_for_what_the_service_answers(
    visitor: Visitor, root: Path, tmp_path: Path, limit: int, frames: str, sheet: int
) -> None:
    """With a small ``GAN_MAX_PIXELS`` the walk has fewer frames, the sheet fewer pictures; each request of the page is 200."""
    (tmp_path / "m.onnx").write_bytes(tiny_onnx.build("large", tiny_onnx.GREY, Image(128, 128, 1)))
    with running(root, models=tmp_path / "m.onnx", max_pixels=limit) as server:
        visit = visitor("#view=between&a=5&b=9", at=server, **NARROW)
        visit.page.get_by_role("button", name="Play the walk").click()
        visit.settle()
        assert visit.samples("/walk") == [f"/walk?model=large&from=5&to=9&back=on{frames}&format=webp"]
        assert visit.page.locator("#picture img").get_attribute("alt") == "the walk from 5 to 9 of large"
        visit = visitor("#seed=3", at=server, **NARROW)
        wait_for_all(visit)
        links = {link: visit.page.get_by_role("link", name=link, exact=True) for link in ("PNG", "Sheet", "Animation")}
        paths = {name: str(link.get_attribute("href")) for name, link in links.items()}
        assert f"&n={sheet}&" in paths["Sheet"]
        assert {server.get(path).status for path in paths.values()} == {200}


def test_a_tile_is_its_seeds_picture(visitor: Visitor, large: Server) -> None:
    """Its pixels are those of the image that the seed gives alone."""
    visit = visitor(at=large)
    tile = visit.page.locator(".tile[data-seed='6'] canvas[data-drawn]")
    assert tile.evaluate(
        """async (tile) => {
          const response = await fetch("/generate?seed=6");
          const alone = Object.assign(document.createElement("canvas"), { width: 128, height: 128 });
          alone.getContext("2d").drawImage(await createImageBitmap(await response.blob()), 0, 0);
          const [a, b] = [tile, alone].map((c) => c.getContext("2d").getImageData(0, 0, 128, 128).data);
          return a.some((value) => value !== b[0]) && a.every((value, i) => value === b[i]);
        }"""
    )


def test_a_turned_wall_requests_its_own_seeds_only(visitor: Visitor, large: Server) -> None:
    """After `Later` no tile of the earlier seeds is requested any more."""
    visit = visitor(at=large, **NARROW)
    visit.page.get_by_role("button", name="Later").click()
    visit.page.locator("#wall .heading p", has_text="Seeds 24 to 47").wait_for()
    wait_for_all(visit)
    seeds = requested(visit)
    assert sorted(seeds[seeds.index(24) :]) == list(range(24, 48, 4))
