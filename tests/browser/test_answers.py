"""Answers that come late, or not at all, and what is left of those that were shown."""

from __future__ import annotations

import re

import pytest

from tests.browser.conftest import RequestContext, Visitor, fill

pytestmark = pytest.mark.process

HOLD = """() => {
  const plain = OWNER.NAME;
  OWNER.NAME = async function (...given) {
    OWNER.NAME = plain;
    const made = await plain.apply(this, given);
    document.documentElement.dataset.held = "";
    await new Promise((letGo) => (window.letGo = letGo));
    return made;
  };
}"""
"""The next call of a function of the browser does not return until `letGo` is called."""
LET_GO = "() => { letGo(); return new Promise((done) => setTimeout(done, 100)); }"
COUNT = """() => {
  const { createObjectURL, revokeObjectURL } = URL;
  window.live = new Set();
  URL.createObjectURL = (body) => { const url = createObjectURL(body); live.add(url); return url; };
  URL.revokeObjectURL = (url) => { live.delete(url); revokeObjectURL(url); };
}"""


def hold(visit: RequestContext, owner: str, name: str) -> None:
    """Let the next call of a function of the browser take long."""
    visit.page.evaluate(HOLD.replace("OWNER", owner).replace("NAME", name))


def let_go(visit: RequestContext) -> None:
    """Let the call that is held return, and the page do what it then does."""
    visit.page.evaluate(LET_GO)
    visit.settle()


def held(visit: RequestContext) -> None:
    """Wait until the call is held."""
    visit.page.locator("html[data-held]").wait_for()


@pytest.mark.parametrize(
    ("model", "owner", "name"),
    [
        ("conditional", "HTMLImageElement.prototype", "decode"),
        ("tokens", "Blob.prototype", "text"),
    ],
)
def test_a_late_sample_does_not_replace_the_pins(visitor: Visitor, model: str, owner: str, name: str) -> None:
    """A sample that is still being read when another view is chosen is neither shown nor announced there."""
    visit = visitor(f"#model={model}")
    hold(visit, owner, name)
    field = visit.page.get_by_label("Seed", exact=True)
    field.fill("5")
    field.press("Enter")
    held(visit)
    visit.page.get_by_role("link", name="Pinned").click()
    visit.page.locator("#picture .empty").wait_for()
    let_go(visit)
    assert visit.page.locator("#picture > *").evaluate_all("nodes => nodes.map(node => node.className)") == ["empty"]
    assert visit.result() == ""


def test_a_late_wall_does_not_replace_another_models(visit: RequestContext) -> None:
    """Tiles that are still being cut when another model is chosen are not shown as that model's."""
    hold(visit, "window", "createImageBitmap")
    visit.page.get_by_role("button", name="Later").click()
    held(visit)
    visit.page.get_by_role("radio", name=re.compile("^points2")).check()
    visit.page.locator("#tiles svg").wait_for()
    let_go(visit)
    assert visit.page.locator("#tiles svg").count() == 1
    assert visit.page.locator(".tile").count() == 0


def test_what_was_refused_is_forgotten_once_the_seed_is_one_again(visit: RequestContext) -> None:
    """The seed that is shown already is typed after something that is none: nothing is wrong any more."""
    fill(visit, "Seed", "abc")
    assert "'abc' is none" in visit.problem()
    fill(visit, "Seed", "42")
    assert visit.problem() == ""


def test_a_walk_that_nobody_answers_can_be_played_again(visitor: Visitor) -> None:
    """The button offers to play, for nothing plays; when the walk does come, what was wrong is forgotten."""
    visit = visitor("#view=between&a=5&b=9")
    button = visit.page.locator("#play")
    visit.page.context.set_offline(True)
    button.click()
    visit.page.get_by_text("The service does not answer. Is it still running?").wait_for()
    assert button.inner_text() == "Play the walk"
    visit.page.context.set_offline(False)
    button.click()
    visit.settle()
    assert visit.page.locator("#picture img").get_attribute("alt") == "the walk from 5 to 9 of conditional"
    assert button.inner_text() == "Stop"
    assert visit.problem() == ""


@pytest.mark.parametrize("body", ['{"detail": [1]}', '{"detail": null}', '{"detail": ""}', "[]", "null", "<html>"])
def test_a_proxys_error_is_a_sentence(visit: RequestContext, body: str) -> None:
    """An answer whose ``detail`` is no text is named by its status."""
    visit.page.route("**/generate?*", lambda route: route.fulfill(status=502, body=body))
    fill(visit, "Seed", "5")
    assert visit.problem() == "The service answered 502."


@pytest.mark.parametrize("path", ["**/models", "**/generate?*"])
def test_a_proxys_page_is_no_answer(visitor: Visitor, path: str) -> None:
    """Models or tokens that come as HTML with 200, as from a page for signing in, are named as no answer of the service."""
    visit = visitor("#model=tokens")
    visit.page.route(path, lambda route: route.fulfill(status=200, content_type="text/html", body="<html>Sign in</html>"))
    visit.page.reload()
    visit.settle()
    assert visit.problem() == "The service does not answer. Is it still running?"


def test_no_picture_is_kept_that_is_not_shown(visit: RequestContext) -> None:
    """After each view was opened ten times, the addresses of pictures in memory are those of the pictures on the page."""
    page = visit.page
    for seed in ("11", "12"):
        fill(visit, "Seed", seed)
        page.get_by_role("button", name="Pin", exact=True).click()
    page.evaluate(COUNT)
    for _ in range(10):
        for view in ("Between two", "Sample", "Pinned"):
            page.get_by_role("link", name=view, exact=True).click()
            visit.settle()
    shown = page.locator("img[src^='blob:']")
    assert shown.count() == 2
    assert set(page.evaluate("[...live]")) == set(shown.evaluate_all("images => images.map(image => image.src)"))
    page.get_by_role("button", name="Unpin seed 12 of conditional").click()
    assert page.evaluate("[...live]") == shown.evaluate_all("images => images.map(image => image.src)")
