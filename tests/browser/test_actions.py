"""What a person does on the page: each action by what is shown and by what was asked of the service."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path
from typing import Any

import pytest

from tests.browser.conftest import RequestContext, Visitor, fill, slide
from tests.harness.service import Server

pytestmark = pytest.mark.process

FIRST = "/generate?model=conditional&seed=42&format=png"


def test_the_page_opens_with_models_a_sample_a_wall_and_the_card(visit: RequestContext) -> None:
    """Every model is there to choose, the first one is shown with its card; nothing random is asked for."""
    page = visit.page
    assert page.locator("#models .name").all_inner_texts() == [
        "conditional",
        "grey",
        "points2",
        "tokens",
        "colour",
        "points1",
        "points9",
    ]
    assert page.get_by_role("radio", name=re.compile("^conditional")).is_checked()
    assert page.locator("#picture img").get_attribute("alt") == "seed 42 of conditional"
    assert page.locator(".tile canvas").count() == 48
    assert "z: normal 20, y: categorical 10, c: uniform 2" in page.locator("#card").inner_text()
    assert visit.requests() == ["/", "/models", FIRST, "/generate?model=conditional&seed=0&n=48&format=png"]


def test_a_model_is_chosen(visit: RequestContext) -> None:
    """Another model's sample, wall and card are shown, without the first one's parameters."""
    visit.page.get_by_role("radio", name=re.compile("^grey")).check()
    visit.settle()
    assert visit.samples()[-1] == "/generate?model=grey&seed=42&format=png"
    assert visit.page.locator("#parameters > *").count() == 0
    assert "seed 42 of grey" in visit.result().lower()
    assert "z: normal 20" in visit.page.locator("#card").inner_text()


def test_a_seed_is_typed(visit: RequestContext) -> None:
    """The seed's sample is asked for and shown, and the address says it."""
    fill(visit, "Seed", "7")
    assert visit.samples()[-1] == "/generate?model=conditional&seed=7&format=png"
    assert visit.result().startswith("Seed 7 of conditional · ")
    assert visit.page.url.endswith("#model=conditional&seed=7")
    assert visit.page.locator(".tile[aria-pressed=true]").get_attribute("aria-label") == "Seed 7"


@pytest.mark.parametrize("text", ["-1", "4294967296", "1.5", "seven", "007", ""])
def test_what_is_no_seed_is_told_and_never_sent(visit: RequestContext, text: str) -> None:
    """A sentence names what was typed, and nothing is asked for."""
    before = len(visit.asked)
    fill(visit, "Seed", text)
    assert visit.problem() == f"A seed is a whole number from 0 to 4294967295, and '{text}' is none."
    assert len(visit.asked) == before


def test_a_seed_is_rolled(visit: RequestContext) -> None:
    """The dice choose a seed, which stands in the field and in the request."""
    visit.page.get_by_role("button", name="Roll Seed").click()
    visit.settle()
    seed = visit.page.get_by_label("Seed", exact=True).input_value()
    assert seed != "42"
    assert visit.samples()[-1] == f"/generate?model=conditional&seed={seed}&format=png"


def test_the_arrow_keys_count_seeds(visit: RequestContext) -> None:
    """Up and down in the field are the next seed and the one before."""
    field = visit.page.get_by_label("Seed", exact=True)
    for key, seed in (("ArrowUp", 43), ("ArrowDown", 42), ("ArrowDown", 41)):
        field.press(key)
        visit.settle()
        assert visit.result().startswith(f"Seed {seed} of")


def test_a_tile_chooses_its_seed(visit: RequestContext) -> None:
    """A click on the wall shows that seed."""
    visit.page.get_by_role("button", name="Seed 5", exact=True).click()
    visit.settle()
    assert visit.samples()[-1] == "/generate?model=conditional&seed=5&format=png"
    assert visit.page.get_by_label("Seed", exact=True).input_value() == "5"


def test_the_tiles_are_the_seeds_samples(visit: RequestContext, server: Server) -> None:
    """A tile's pixels are those of the image that its seed gives alone."""
    shown = visit.page.locator(".tile[data-seed='11'] canvas").evaluate(
        "canvas => [...canvas.getContext('2d').getImageData(0, 0, 28, 28).data].filter((_, i) => i % 4 === 0)"
    )
    right = json.loads(server.get("/generate?model=conditional&seed=11&format=json")[2])["data"][0]
    assert shown == [pixel[0] for row in right for pixel in row]


def test_the_wall_turns(visit: RequestContext) -> None:
    """Later and earlier show the seeds after and before, and the address says where one is."""
    visit.page.get_by_role("button", name="Later").click()
    visit.settle()
    assert "/generate?model=conditional&seed=48&n=48&format=png" in visit.asked
    assert "wall=48" in visit.page.url
    assert visit.page.evaluate("document.activeElement.innerText") == "Later"
    visit.page.get_by_role("button", name="Earlier").click()
    visit.settle()
    assert visit.page.locator("#wall .heading p").inner_text() == "Seeds 0 to 47"


def test_a_class_is_picked_and_let_go(visit: RequestContext) -> None:
    """The class goes into the sample's and the wall's request; `any` takes it out."""
    for label, more in (("3", "&y=3"), ("any", "")):
        visit.page.get_by_role("radio", name=label, exact=True).check()
        visit.settle()
        assert visit.samples()[-1] == FIRST + more
        assert visit.page.url.endswith("&p.y=3") == bool(more)
    assert "/generate?model=conditional&seed=0&n=48&format=png&y=3" in visit.asked


def test_a_slider_moves_a_latent_and_is_reset(visit: RequestContext) -> None:
    """There is one for each declared component; its value goes into the request, and out of it by the button."""
    slide(visit, "c0", 0.5)
    assert visit.samples()[-1] == FIRST + "&c0=0.50"
    assert visit.page.locator("output[for=p-c0]").inner_text() == "0.50"
    slide(visit, "c1", -1)
    assert visit.samples()[-1] == FIRST + "&c0=0.50&c1=-1.00"
    visit.page.get_by_role("button", name="Let c0 follow the seed").click()
    visit.settle()
    assert visit.samples()[-1] == FIRST + "&c1=-1.00"


def test_dragging_does_not_flood_the_service(visit: RequestContext) -> None:
    """Of a hundred movements the first and the last are asked for, and the last is what is shown."""
    before = len(visit.samples())
    slide(visit, "c0", *(i / 100 for i in range(100)))
    asked = visit.samples()[before:]
    assert [path.rpartition("&")[2] for path in asked] == ["c0=0.00", "c0=0.99"]
    walls = [path for path in visit.asked if "&n=48" in path and "c0" in path]
    assert [path.rpartition("&")[2] for path in walls] == ["c0=0.00", "c0=0.99"]


def test_a_place_between_two_seeds(visit: RequestContext) -> None:
    """The slider asks for `/mix`, with the class that is held; both ends are shown small."""
    visit.page.get_by_role("link", name="Between two").click()
    fill(visit, "From seed", "5")
    fill(visit, "To seed", "9")
    slide(visit, "Place", 0.25)
    assert visit.samples("/mix")[-1] == "/mix?model=conditional&a=5&b=9&t=0.25&format=png"
    assert visit.result().startswith("0.25 between 5 and 9 of conditional · ")
    assert visit.page.locator(".thumb img").evaluate_all("images => images.map(image => image.alt)") == ["Seed 5", "Seed 9"]
    visit.page.get_by_role("radio", name="7", exact=True).check()
    visit.settle()
    assert visit.samples("/mix")[-1].endswith("&y=7")


def test_the_walk_is_played_and_stopped(visitor: Visitor) -> None:
    """Nothing moves until it is asked for; stopping shows the place again."""
    visit = visitor("#view=between&a=5&b=9")
    assert not visit.samples("/walk")
    visit.page.get_by_role("button", name="Play the walk").click()
    visit.settle()
    assert visit.samples("/walk") == ["/walk?model=conditional&from=5&to=9&back=on&format=webp"]
    assert visit.page.locator("#picture img").get_attribute("alt") == "the walk from 5 to 9 of conditional"
    visit.page.get_by_role("button", name="Stop").click()
    visit.settle()
    assert visit.page.locator("#picture img").get_attribute("alt") == "0.5 between 5 and 9 of conditional"


def test_arithmetic_on_latents(visit: RequestContext) -> None:
    """Three seeds ask for `/arithmetic`; a tile fills the field that was used last."""
    visit.page.get_by_role("link", name="Arithmetic").click()
    fill(visit, "Seed a", "10")
    fill(visit, "minus b", "20")
    visit.page.get_by_label("plus c", exact=True).focus()
    visit.page.get_by_role("button", name="Seed 30", exact=True).click()
    visit.settle()
    assert visit.samples("/arithmetic")[-1] == "/arithmetic?model=conditional&a=10&b=20&c=30&format=png"
    assert visit.result().startswith("10 − 20 + 30 of conditional · ")
    alts = visit.page.locator(".thumb img").evaluate_all("images => images.map(image => image.alt)")
    assert alts == ["Seed 10", "Seed 20", "Seed 30"]


def test_favourites_are_pinned_and_stay(visit: RequestContext) -> None:
    """A pin is there after a reload, by the address of its model's digest; it leads back, and goes when it is unpinned."""
    page = visit.page
    fill(visit, "Seed", "11")
    page.get_by_role("button", name="Pin", exact=True).click()
    assert visit.result() == "Pinned; it stays in this browser."
    page.get_by_role("link", name="Pinned").click()
    page.reload()
    visit.settle()
    assert page.locator(".pins img").evaluate_all("images => images.map(image => image.alt)") == ["seed 11 of conditional"]
    assert re.fullmatch(r"/models/[0-9a-f]{64}/generate\?seed=11&format=png", visit.asked[-1])
    page.get_by_role("link", name="seed 11 of conditional").click()
    visit.settle()
    assert visit.result().startswith("Seed 11 of conditional · ")
    page.get_by_role("link", name="Pinned").click()
    page.get_by_role("button", name="Unpin seed 11 of conditional").click()
    assert "Nothing is pinned yet." in page.locator("#picture").inner_text()


def test_lines_are_copied(visitor: Visitor, server: Server) -> None:
    """The clipboard has the curl line and the immutable address, whose answer is the sample."""
    visit = visitor("#seed=11&p.y=3", permissions=["clipboard-read", "clipboard-write"])
    visit.page.get_by_role("button", name="Copy the curl line").click()
    visit.page.get_by_text("curl line copied.").wait_for()
    line = visit.page.evaluate("navigator.clipboard.readText()")
    assert line == f"curl -o 11.png '{visit.origin}/generate?model=conditional&seed=11&y=3'"
    visit.page.get_by_role("button", name="Copy the immutable address").click()
    visit.page.get_by_text("Immutable address copied.").wait_for()
    address = visit.page.evaluate("navigator.clipboard.readText()")
    status, headers, body = server.get(address.removeprefix(visit.origin))
    assert (status, "immutable" in headers["cache-control"]) == (200, True)
    assert body == server.get("/generate?model=conditional&seed=11&y=3")[2]


@pytest.mark.parametrize(
    ("hash", "label", "name", "path"),
    [
        ("#seed=11&p.y=3", "PNG", "11.png", "/generate?model=conditional&seed=11&scale=16&y=3"),
        ("#seed=11&p.y=3", "Sheet", "11-sheet.png", "/generate?model=conditional&seed=11&n=16&scale=4&y=3"),
        ("#seed=4294967295", "Sheet", "4294967280-sheet.png", "/generate?model=conditional&seed=4294967280&n=16&scale=4"),
        ("#seed=11", "Animation", "11-12.webp", "/walk?model=conditional&from=11&to=12&back=on&scale=8"),
        ("#view=between&a=5&b=9&t=0.3", "PNG", "5-9.png", "/mix?model=conditional&a=5&b=9&t=.3&scale=16"),
        ("#view=between&a=5&b=9", "Animation", "5-9.webp", "/walk?model=conditional&from=5&to=9&back=on&scale=8"),
        ("#view=arithmetic&a=1&b=2&c=3", "PNG", "1-2+3.png", "/arithmetic?model=conditional&a=1&b=2&c=3&scale=16"),
        ("#model=points2&seed=11", "NPY", "11.npy", "/generate?model=points2&seed=11&format=npy"),
    ],
)
def test_files_are_downloaded(visitor: Visitor, server: Server, hash: str, label: str, name: str, path: str) -> None:
    """Each file has its name and the bytes that the service answers."""
    visit = visitor(hash)
    with visit.page.expect_download() as coming:
        visit.page.get_by_role("link", name=label, exact=True).click()
    assert coming.value.suggested_filename == name
    assert Path(coming.value.path()).read_bytes() == server.get(path)[2]


def test_a_curl_line_is_one_for_the_shell_whatever_a_value_says(visitor: Visitor) -> None:
    """An apostrophe in a value of the address does not end the line's quotes."""
    visit = visitor("#seed=11&p.y=3'3")
    line = visit.page.get_by_label("curl line", exact=True).input_value()
    assert shlex.split(line)[3:] == [f"{visit.origin}/generate?model=conditional&seed=11&y=3%273"]


def test_points_are_shown_against_the_real_ones(visitor: Visitor, server: Server) -> None:
    """A toy game shows 256 made points over real ones of its data set, and the seed's own point in numbers."""
    visit = visitor("#model=points2&seed=7")
    assert visit.page.locator("#tiles").inner_text().split("\n") == ["made, 256", "real, 600 of ring8"]
    dots = visit.page.locator("#tiles .dots")
    counts = dots.evaluate_all("paths => paths.map(path => path.getAttribute('d').split('M').length - 1)")
    assert counts == [600, 256]
    made = json.loads(server.get("/generate?model=points2&seed=7&format=json")[2])["data"][0]
    told = visit.page.locator("#picture .numbers").inner_text().strip("()").split(", ")
    assert [float(number) for number in told] == pytest.approx(made, rel=1e-4)


@pytest.mark.parametrize("name", ["points1", "points9"])
def test_points_of_an_unknown_data_set_are_shown_alone(visitor: Visitor, name: str) -> None:
    """Where the card's data set is none that the page can draw, it says so."""
    visit = visitor(f"#model={name}&seed=7")
    assert "Of the data set none the page knows no real points." in visit.page.locator("#tiles").inner_text()
    assert visit.page.locator("#picture svg").count() == 1


def test_sequences_are_shown_as_text(visitor: Visitor, server: Server) -> None:
    """A model of tokens shows each sequence as its tokens, in the sample, on the wall and on a walk."""
    visit = visitor("#model=tokens&seed=7")
    rows: list[list[int]] = json.loads(server.get("/generate?model=tokens&seed=0&n=12&format=json")[2])["data"]
    texts = [" ".join(map(str, row)) for row in rows]
    assert visit.page.locator(".tile").all_inner_texts() == texts
    assert visit.page.locator("#picture code").all_inner_texts() == [texts[7]]
    visit.page.get_by_role("link", name="Between two").click()
    visit.page.get_by_role("button", name="Play the walk").click()
    visit.settle()
    assert visit.page.locator("#picture code").count() == 24


def test_each_request_shows_what_it_took(visitor: Visitor) -> None:
    """The table tells of each request its time, whether the answer was kept, and the batch; the newest one first."""
    visit = visitor("#seed=987654")
    row: Any = visit.page.locator("#requests tr", has_text="seed=987654")
    cells = row.first.locator("td").all_inner_texts()
    assert re.fullmatch(r"[\d.]+ ms", cells[0])
    assert cells[1] == "miss"
    assert int(cells[2]) >= 1
    assert all(re.fullmatch(r"[\d.]+ ms", cell) for cell in cells[3:])
    assert re.search(r" · [\d.]+ ms · cache miss · batch of \d+$", visit.result())
    other = visitor("#seed=987654")
    assert re.search(r" · cache hit$", other.result())
