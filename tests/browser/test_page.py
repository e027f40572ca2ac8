"""The page itself: its address, its errors, its policy, and who can use it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from contract import Image
from tests.browser.conftest import RequestContext, Visitor
from tests.harness.service import running
from tests.serving import tiny_onnx

pytestmark = pytest.mark.process

LINKS = {
    "sample": "#seed=11&p.y=3&p.c0=0.50",
    "between": "#view=between&a=5&b=9&t=0.3",
    "arithmetic": "#view=arithmetic&a=1&b=2&c=3",
    "pins": "#view=pins",
    "colour": "#model=colour&seed=3",
    "points": "#model=points2&seed=7",
    "histogram": "#model=points1&seed=7",
    "curves": "#model=points9&seed=7",
    "tokens": "#model=tokens&seed=7",
}
"""One of each view and of each kind of output."""
SCREENSHOTS = "runs/screenshots"


def test_an_address_shows_the_view_again(visitor: Visitor) -> None:
    """Model, view, seeds, place and values of a link are what is asked for and what the controls show."""
    visit = visitor("#model=conditional&view=between&a=5&b=9&t=0.3&p.y=3&p.c0=-0.50&wall=96")
    assert visit.samples("/mix") == ["/mix?model=conditional&a=5&b=9&t=0.3&format=png&y=3&c0=-0.50"]
    page = visit.page
    assert page.get_by_role("link", name="Between two").get_attribute("aria-current") == "page"
    labels = ("From seed", "To seed", "Place", "c0")
    assert [page.get_by_label(label, exact=True).input_value() for label in labels] == ["5", "9", "0.3", "-0.5"]
    assert page.get_by_role("radio", name="3", exact=True).is_checked()
    assert page.locator("#wall .heading p").inner_text() == "Seeds 96 to 143"


def test_back_and_forward(visit: RequestContext) -> None:
    """The browser's buttons lead through what was looked at; a drag is one step."""
    page = visit.page
    page.get_by_role("button", name="Seed 5", exact=True).click()
    page.get_by_role("link", name="Between two").click()
    place = page.get_by_label("Place", exact=True)
    place.evaluate("s => { for (const v of [.1, .2, .3]) { s.value = v; s.dispatchEvent(new Event('input')); } }")
    visit.settle()
    way = [("back", "Seed 5 of"), ("back", "Seed 42 of"), ("forward", "Seed 5 of"), ("forward", "0.3 between 1 and 2")]
    for step, said in way:
        getattr(page, f"go_{step}")()
        page.locator("#result", has_text=said).wait_for()


def test_a_link_with_nonsense_shows_what_can_be_shown(visitor: Visitor) -> None:
    """A seed, a view or a place that is none is as good as absent; a missing model is reported."""
    visit = visitor("#model=nobody&view=%3Cscript%3E&seed=-1&t=7&wall=x&at=..%2F..")
    assert visit.problem() == "There is no model 'nobody' here; this is conditional."
    assert visit.result().startswith("Seed 42 of conditional")


def test_an_address_that_is_changed_to_a_missing_model_says_so(visit: RequestContext) -> None:
    """Typed over an open page, it shows the default model, whose name it then has; what was said goes with the next view."""
    page = visit.page
    page.evaluate("location.hash = '#model=nothere&seed=7&p.y=3&at=0123456789ab'")
    page.locator("#problem", has_text="There is no model 'nothere' here; this is conditional.").wait_for()
    visit.settle()
    assert visit.result().startswith("Seed 7 of conditional")
    assert page.evaluate("location.hash") == "#model=conditional&seed=7"
    page.get_by_role("button", name="Seed 5", exact=True).click()
    visit.settle()
    assert visit.problem() == ""
    page.go_back()
    page.go_back()
    page.locator("#result", has_text="Seed 42 of").wait_for()


def test_a_pin_of_a_missing_model_says_so(visit: RequestContext) -> None:
    """A pinned place between two seeds has no digest, so that the model of its name is what it means."""
    page = visit.page
    page.get_by_role("link", name="Between two").click()
    page.get_by_role("button", name="Pin", exact=True).click()
    rename = "key => localStorage.setItem(key, localStorage.getItem(key).replaceAll('conditional', 'gone'))"
    page.evaluate(rename, "gan-serve.pins")
    visit.open("#view=pins")
    page.reload()
    page.locator(".pins .problem", has_text="Model must be one of").wait_for()
    page.get_by_role("link", name="0.5 between 1 and 2 of gone").click()
    page.locator("#problem", has_text="There is no model 'gone' here; this is conditional.").wait_for()
    visit.settle()
    assert visit.result().startswith("0.5 between 1 and 2 of conditional")


@pytest.mark.parametrize(
    ("hash", "sentence"),
    [
        ("#p.y=99", "Y must be an integer 0..9, got '99'."),
        ("#at=123456789abc", "No model '123456789abc'; a digest's address has"),
        ("#p.c0=wide", "C0 must be a number -1..1, got 'wide'."),
    ],
)
def test_a_refusal_is_a_sentence(visitor: Visitor, hash: str, sentence: str) -> None:
    """What the service says is wrong stands on the page as a sentence, and goes with the next answer."""
    visit = visitor(hash)
    assert visit.problem().startswith(sentence)
    assert visit.problem().endswith(".")
    visit.open("#seed=3")
    assert visit.problem() == ""


def test_a_model_that_was_replaced_is_noticed_and_its_pins_say_that_it_is_gone(
    visitor: Visitor, root: Path, tmp_path: Path
) -> None:
    """The page reads the models anew when another digest answers; a pin of the old one tells why it has no picture."""
    path, token = tmp_path / "a.onnx", "0123456789abcdef"
    path.write_bytes(tiny_onnx.conditional())
    with running(root, models=tmp_path, admin_token=token, keep_models=0) as server:
        visit = visitor("#seed=1", server)
        visit.page.get_by_role("button", name="Pin", exact=True).click()
        old = visit.page.locator("#card dd", has_text=re.compile("^[0-9a-f]{64}$")).inner_text()
        (tmp_path / "new").write_bytes(tiny_onnx.conditional(steps=2))
        (tmp_path / "new").rename(path)
        assert server.get("/admin/reload", "POST", {"Authorization": f"Bearer {token}"})[0] == 200
        visit.page.get_by_role("button", name="Seed 5", exact=True).click()
        visit.page.get_by_text("the model was replaced by a newer one").wait_for()
        assert old not in visit.page.locator("#card").inner_text()
        visit.page.get_by_role("link", name="Pinned").click()
        visit.settle()
        told = visit.page.locator(".pins .problem").inner_text()
        assert old[:12] in told
        assert told.endswith(".")


def test_a_service_that_is_gone_is_told(visitor: Visitor, root: Path, model_folder: Path) -> None:
    """When the service stops answering the page says so."""
    with running(root, models=model_folder) as server:
        visit = visitor("", server)
        server.stop()
        visit.page.get_by_role("button", name="Seed 5", exact=True).click()
        visit.page.get_by_text("The service does not answer. Is it still running?").wait_for()


def test_an_inline_script_does_not_run(visit: RequestContext) -> None:
    """Neither a script nor a style that is put into the page is heeded: the policy holds in the browser."""
    found = visit.page.evaluate(
        """() => {
          const script = document.createElement("script");
          script.textContent = "window.hasRun = true";
          document.body.append(script);
          const text = document.createElement("p");
          text.setAttribute("style", "position: fixed");
          document.body.append(text);
          return [window.hasRun ?? false, getComputedStyle(text).position];
        }"""
    )
    assert found == [False, "static"]
    assert len(visit.complaints) == 2
    assert all("Content Security Policy" in said for said in visit.complaints)
    visit.complaints.clear()


def test_the_keyboard_reaches_everything(visit: RequestContext) -> None:
    """Tab leads from the skip link through each control in the page's order, always visibly; none has a positive tabindex."""
    page = visit.page
    assert page.locator("[tabindex]").evaluate_all("nodes => nodes.map(n => n.tabIndex).filter(i => i > 0)") == []
    seen: list[str] = []
    for _ in range(110):
        page.keyboard.press("Tab")
        told: dict[str, Any] = page.evaluate(
            """() => {
              const node = document.activeElement;
              const mark = node.matches("[type=radio]") ? node.parentElement : node;
              const near = [mark, ...mark.querySelectorAll("span")].map((n) => getComputedStyle(n).outlineStyle);
              return { name: node.getAttribute("aria-label") ?? node.labels?.[0]?.innerText ?? node.innerText ?? node.tagName,
                       isVisible: near.some((style) => style !== "none") };
            }"""
        )
        if told["name"] and told["isVisible"]:
            seen.append(told["name"].split("\n")[0])
    expected = [
        "Skip to the sample",
        "Routes",
        "conditional",
        "Sample",
        "Arithmetic",
        "Seed",
        "Roll Seed",
        "any",
        "c0",
        "Pin",
        "PNG",
        "curl line",
        "Copy the curl line",
        "Seed 0",
        "Seed 47",
        "Later",
        "Anywhere",
    ]
    places = [seen.index(name) for name in expected]
    assert places == sorted(places)


def test_a_result_is_announced(visit: RequestContext) -> None:
    """What is shown is a polite status, what is wrong an alert, and every control has a name."""
    assert visit.page.get_by_role("status").first.get_attribute("aria-live") == "polite"
    assert visit.page.locator("#problem").get_attribute("role") == "alert"
    is_named = "node.getAttribute('aria-label') || node.innerText || node.labels?.length"
    controls = visit.page.locator("input, button")
    unnamed = controls.evaluate_all(f"nodes => nodes.filter(node => !({is_named})).map(node => node.outerHTML)")
    assert unnamed == []


@pytest.mark.parametrize(("motion", "durations"), [("reduce", {"0s"}), ("no-preference", {"0.12s"})])
def test_nothing_moves_for_whoever_wants_it_still(visitor: Visitor, motion: str, durations: set[str]) -> None:
    """With `prefers-reduced-motion` no style changes over time."""
    visit = visitor(reduced_motion=motion)
    found = visit.page.locator(".tile, button").evaluate_all(
        "nodes => nodes.map(node => getComputedStyle(node).transitionDuration.split(',')[0])"
    )
    assert set(found) == durations


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("view", LINKS)
def test_axe_finds_nothing(visitor: Visitor, view: str, scheme: str) -> None:
    """No violation of axe-core's rules, contrast among them, in any view, light and dark."""
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe-playwright-python is not installed")
    visit = visitor(LINKS[view], color_scheme=scheme)
    if view == "pins":
        pin_two(visit)
    found = axe.Axe().run(visit.page).response["violations"]
    assert [(rule["id"], [node["html"] for node in rule["nodes"]]) for rule in found] == []


@pytest.mark.parametrize(("scheme", "width"), [("light", 1280), ("dark", 1280), ("light", 390), ("dark", 390)])
@pytest.mark.parametrize("view", LINKS)
def test_a_view_fits_its_window(visitor: Visitor, root: Path, view: str, scheme: str, width: int) -> None:
    """Nothing is wider than the window; a screenshot of each view stays behind to be looked at."""
    visit = visitor(LINKS[view], color_scheme=scheme, viewport={"width": width, "height": 900})
    if view == "pins":
        pin_two(visit)
    visit.page.screenshot(path=root / SCREENSHOTS / f"{view}-{scheme}-{width}.png", full_page=True)
    assert visit.page.evaluate("document.documentElement.scrollWidth") == width


def test_a_long_name_fits_a_small_window(visitor: Visitor, root: Path, tmp_path: Path) -> None:
    """A model's name of 64 letters without a place to break, on a window of 320 pixels."""
    (tmp_path / "long.onnx").write_bytes(tiny_onnx.build("N" * 64, tiny_onnx.GREY, Image(8, 8, 1)))
    with running(root, models=tmp_path) as server:
        visit = visitor("", server, viewport={"width": 320, "height": 640})
        assert visit.page.evaluate("document.documentElement.scrollWidth") == 320


def pin_two(visit: RequestContext) -> None:
    """Pin a sample and a sum, and look at the pins."""
    for hash in ("#seed=3", "#view=arithmetic&a=1&b=2&c=3"):
        visit.open(hash)
        visit.page.get_by_role("button", name="Pin", exact=True).click()
    visit.open("#view=pins")
    visit.page.locator(".pins img").nth(1).wait_for()


TOYS = {"gaussian1d", "parabola", "parabola-norm", "ring8", "grid25"}


@pytest.mark.parametrize("name", sorted(TOYS))
def test_the_real_points_are_those_of_the_training_data(visit: RequestContext, name: str) -> None:
    """The page's own points have mean, spread and modes of those that the game learned from."""
    pytest.importorskip("torch", reason="training is not installed")
    import numpy as np

    from training.data import toys

    (toy,) = (toy for toy in vars(toys).values() if isinstance(toy, toys.Toy) and toy.name == name)
    drawn = np.array(visit.page.evaluate(f"import('/static/toys.js').then(toys => toys.realPoints('{name}', 20000))"))
    right = toy.draw(np.random.RandomState(1), 20000)
    spread = right.std(0)
    assert np.abs(drawn.mean(0) - right.mean(0)).max() / spread.max() < 0.03
    assert drawn.std(0) == pytest.approx(spread, rel=0.03)
    if toy.modes is not None and toy.mode_sd is not None:
        distances = np.linalg.norm(drawn[:, None] - np.array(toy.modes), axis=2)
        assert set(distances.argmin(1)) == set(range(len(toy.modes)))
        assert (distances.min(1) ** 2).mean() == pytest.approx(2 * toy.mode_sd**2, rel=0.05)
