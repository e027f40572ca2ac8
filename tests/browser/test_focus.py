"""Where the keyboard's focus goes: it is never lost, and moving it changes nothing of what is looked at."""

from __future__ import annotations

import pytest

from tests.browser.conftest import RequestContext, Visitor, slide

pytestmark = pytest.mark.process

FOCUS = "document.activeElement.id || document.activeElement.innerText"


def test_the_skip_link_leads_to_the_sample_that_is_shown(visitor: Visitor) -> None:
    """It moves the focus alone: the address says what it said, and nothing is asked for."""
    visit = visitor("#model=conditional&seed=777&p.y=3")
    before = visit.requests()
    visit.page.keyboard.press("Tab")
    visit.page.keyboard.press("Enter")
    visit.settle()
    assert visit.page.evaluate(FOCUS) == "stage"
    assert visit.page.url.endswith("#model=conditional&seed=777&p.y=3")
    assert visit.page.get_by_label("Seed", exact=True).input_value() == "777"
    assert visit.requests() == before


def test_a_place_of_the_document_is_nothing_to_look_at(visitor: Visitor) -> None:
    """An address that names an element, and no seed or model, leaves what is shown as it is."""
    visit = visitor("#seed=777&p.y=3")
    before = visit.requests()
    visit.page.evaluate("() => new Promise((done) => { addEventListener('popstate', done); location.hash = '#stage'; })")
    visit.settle()
    assert visit.page.get_by_label("Seed", exact=True).input_value() == "777"
    assert visit.requests() == before


@pytest.mark.parametrize(
    ("hash", "button", "seeds"),
    [
        ("#wall=48", "Earlier", "Seeds 0 to 47"),
        ("#wall=4294967200", "Later", "Seeds 4294967248 to 4294967295"),
    ],
)
def test_the_focus_stays_where_the_wall_ends(visitor: Visitor, hash: str, button: str, seeds: str) -> None:
    """The button that led to an end keeps the focus, says that it is disabled, and leads no further."""
    visit = visitor(hash)
    turn = visit.page.get_by_role("button", name=button)
    turn.focus()
    for _ in range(2):
        visit.page.keyboard.press("Enter")
        visit.settle()
        assert visit.page.evaluate(FOCUS) == f"turn-{button.lower()}"
        assert visit.page.locator("#wall .heading p").inner_text() == seeds
    assert turn.is_disabled()


def test_the_focus_goes_to_the_slider_that_was_reset(visit: RequestContext) -> None:
    """Letting a value follow the seed leaves its button without use, so its slider has the focus."""
    slide(visit, "c0", 0.5)
    visit.page.get_by_role("button", name="Let c0 follow the seed").press("Enter")
    visit.settle()
    assert visit.page.evaluate(FOCUS) == "p-c0"
