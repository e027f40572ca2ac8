"""The page and the stored results behind it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.scoreboard.__main__ import choose, is_current, write_page
from benchmarks.scoreboard.claims import AtMost, Below, Claim
from benchmarks.scoreboard.jobs import is_of, jobs_of, spell
from benchmarks.scoreboard.measures import Measure, Scored, WhereFound
from benchmarks.scoreboard.page import COLUMNS, make_page
from benchmarks.scoreboard.results import RESULTS, Result, load_results, path_of, store_result
from benchmarks.scoreboard.row import Protocol, PublishedFigure, Row
from benchmarks.scoreboard.rows import ROWS
from benchmarks.scoreboard.stages import StepsTo
from benchmarks.scoreboard.systems import make_systems
from benchmarks.scoreboard.turned import Turned
from tests.repository.files import ROOT
from training.errors import TrainingError
from training.recipes.systems import SYSTEMS

ROW = Row(
    name="toy",
    system="a toy",
    data="gaussian1d",
    better="lower",
    published=(PublishedFigure(figure="1 ± .5", source="a paper", is_verified=False),),
    full=Protocol(recipe="toy1d", measure=Scored(name="w1"), seeds=3, minutes=1),
    scaled=Protocol(recipe="toy1d", measure=Scored(name="w1"), steps=5, minutes=0.1),
)
RESULT = Result(
    seed=0,
    measure="w1",
    value=2.0,
    error=0.25,
    real=0.5,
    steps=5000,
    seconds=10.0,
    machine="2 cores of a CPU",
    command="python -m training train toy1d --seed 0 --out RUN",
    commit="abc",
)


def cells(page: str, number: int) -> dict[str, str]:
    """A line of the table by its column; 0 is the first below the head."""
    lines = [line for line in page.splitlines() if line.startswith("|")][2:]
    return dict(zip(COLUMNS, (cell.strip() for cell in lines[number].strip("|").split(" | ")), strict=True))


def test_the_page_is_what_the_stored_results_make() -> None:
    """docs/SCOREBOARD.md is current: python -m benchmarks.scoreboard makes it anew."""
    assert is_current(ROWS, ROOT / "docs")


def test_seeds_without_a_value_are_counted_apart(tmp_path: Path) -> None:
    """Mean and deviation are those of the seeds that have a value; the page says how many those are."""
    for seed, value in enumerate((1.0, 3.0, None)):
        store_result(tmp_path, "toy", "full", replace(RESULT, seed=seed, value=value))
    line = cells(make_page([ROW], tmp_path), 0)
    assert line["ours"] == "**2 ± 1.4**"
    assert line["seeds"] == "3, of which 2 count"


def test_seeds_that_diverged_are_counted_apart_and_against_the_claim(tmp_path: Path) -> None:
    """The figure is that of the other seeds; two of three that diverged have no median, and a comparison has all seeds."""
    claim = Claim(system="a system", text="a claim", bar=Below("twin"))
    row = replace(ROW, full=replace(ROW.full, claim=claim))
    twin = replace(ROW, name="twin")
    for seed in range(3):
        store_result(tmp_path, "twin", "full", replace(RESULT, seed=seed))
        diverged = replace(RESULT, seed=seed, measure="none", value=None, has_diverged=True)
        store_result(tmp_path, "toy", "full", diverged if seed else replace(RESULT, value=1.0))
    line = cells(make_page([row, twin], tmp_path), 0)
    assert (line["ours"], line["seeds"]) == ("**1 ± 0.25**", "3, of which 2 diverged")
    assert (line["measure"], line["verdict"]) == ("w1 (↓)", "not shown, p = 0.8")
    store_result(tmp_path, "toy", "full", diverged)
    store_result(tmp_path, "toy", "full", replace(diverged, seed=0))
    line = cells(make_page([row, twin], tmp_path), 0)
    assert (line["ours"], line["seeds"], line["verdict"]) == ("none", "3, of which 3 diverged", "not shown, p = 1")


def test_every_stored_result_is_a_rows() -> None:
    """Each file belongs to a row at a scale that the row has, and holds readable results."""
    expected = {path_of(Path(), row.name, "full").name for row in ROWS}
    expected |= {path_of(Path(), row.name, "scaled").name for row in ROWS if row.scaled}
    assert {path.name for path in (ROOT / "docs" / RESULTS).glob("*")} <= expected
    for row in ROWS:
        assert all(
            result.command and result.commit and result.machine
            for result in load_results(ROOT / "docs" / RESULTS, row.name, "full")
        )


def test_every_stored_result_is_of_todays_protocol() -> None:
    """It is what its row would measure now: a figure of another length or count does not stand under today's words."""
    for job in [*jobs_of(ROWS, scale="full", has_cuda=True), *jobs_of(ROWS, scale="scaled", has_cuda=True)]:
        for result in load_results(ROOT / "docs" / RESULTS, job.row.name, job.scale):
            assert is_of(job.protocol, result), (job.row.name, result.seed)


@pytest.mark.parametrize(
    ("stored", "today"),
    [
        (StepsTo(kid=0.1), StepsTo(kid=5)),
        (WhereFound(name="sd", mean=4, within=1), WhereFound(name="sd", mean=4, within=0.01)),
        (Turned(name="age-read", images=10), Turned(name="age-read")),
        (Turned(name="age-read"), Turned(name="digit-kept")),
    ],
    ids=str,
)
def test_a_result_of_another_measure_by_the_same_command_is_no_result_of_today(stored: Measure, today: Measure) -> None:
    """What a command does not say is compared where it is stored; a result of before has the command alone."""
    before, now = (Protocol(recipe="vanilla", measure=measure, minutes=1) for measure in (stored, today))
    assert spell(before, 0) == spell(now, 0)
    result = replace(RESULT, command=spell(now, 0))
    assert is_of(now, result)
    result = replace(result, parameters=stored.parameters)
    assert (is_of(before, result), is_of(now, result)) == (True, False)


def test_a_result_keeps_its_parameters(tmp_path: Path) -> None:
    """Stored and read again, they are those of the protocol; a result of before has no such key in its file."""
    store_result(tmp_path, "toy", "full", RESULT)
    protocol = ROW.full
    new = replace(RESULT, seed=1, command=spell(protocol, 1), parameters=protocol.measure.parameters)
    store_result(tmp_path, "toy", "full", new)
    assert is_of(protocol, load_results(tmp_path, "toy", "full")[1])
    first, second = json.loads(path_of(tmp_path, "toy", "full").read_text())["results"]
    assert ("parameters" in first, "parameters" in second) == (False, True)


def test_only_the_seeds_of_the_protocol_count(tmp_path: Path) -> None:
    """Seeds that were seen before the claim was stated decide nothing, however many they are, and are not shown."""
    claim = Claim(system="toys", text="it is near", bar=AtMost(2.5, "worst"))
    row = replace(ROW, full=replace(ROW.full, first_seed=100, claim=claim), scaled=None)
    for seed in range(3):
        store_result(tmp_path, "toy", "full", replace(RESULT, seed=seed, value=9.0))
    line = cells(make_page([row], tmp_path), 0)
    assert (line["verdict"], line["ours"]) == ("not run", "not run")
    for seed in range(100, 103):
        store_result(tmp_path, "toy", "full", replace(RESULT, seed=seed))
    line = cells(make_page([row], tmp_path), 0)
    assert (line["verdict"], line["seeds"]) == ("shown", "3")


@pytest.mark.parametrize(
    ("theirs", "verdict"), [("lenet@a", "shown, p = 0.05"), ("lenet@b", "not run"), (None, "shown, p = 0.05")]
)
def test_a_twin_by_another_classifier_decides_nothing(theirs: str | None, verdict: str, tmp_path: Path) -> None:
    """Also where the measure's name has no classifier; a result of before, which says nothing of it, is compared."""
    claim = Claim(system="toys", text="it is nearer", bar=Below("twin"))
    row, twin = replace(ROW, full=replace(ROW.full, claim=claim), scaled=None), replace(ROW, name="twin", scaled=None)
    for seed in range(3):
        store_result(tmp_path, "toy", "full", replace(RESULT, seed=seed, classifier="lenet@a"))
        store_result(tmp_path, "twin", "full", replace(RESULT, seed=seed, value=3.0, classifier=theirs))
    assert cells(make_page([row, twin], tmp_path), 0)["verdict"] == verdict


def test_rows_have_names_of_their_own() -> None:
    """A name is a file's, so no two rows share it."""
    assert len({row.name for row in ROWS}) == len(ROWS)


def test_a_row_without_a_run_says_so(tmp_path: Path) -> None:
    """No figure, none of none seeds, and what it would cost."""
    line = cells(make_page([ROW], tmp_path), 0)
    assert (line["ours"], line["real data"], line["seeds"], line["seconds"]) == ("not run", "", "0 of 3", "about 1 min a seed")
    assert line["published"] == "1 ± .5 [a paper; *unverified*]"


def test_a_row_whose_recipe_is_not_built_says_so(tmp_path: Path) -> None:
    """The recipe is named, and nothing breaks."""
    row = replace(ROW, full=replace(ROW.full, recipe="nogan"), published=())
    line = cells(make_page([row], tmp_path), 0)
    assert (line["ours"], line["published"]) == ("no recipe yet: nogan", "none")


def test_a_row_shows_the_mean_over_its_seeds(tmp_path: Path) -> None:
    """1, 2 and 3 are 2 ± 1, the best 1; real data, steps, seconds, machine, commits and a command for any seed are shown."""
    for seed, value in enumerate((1.0, 2.0, 3.0)):
        commit = "abc" if seed < 2 else "def"
        store_result(tmp_path, "toy", "full", replace(RESULT, seed=seed, value=value, seconds=10.0 * seed, commit=commit))
    line = cells(make_page([ROW], tmp_path), 0)
    assert (line["ours"], line["real data"], line["seeds"], line["steps"]) == (
        "**2 ± 1**, median 2, best 1",
        "0.5",
        "3",
        "5,000",
    )
    assert (line["seconds"], line["machine"], line["commit"]) == ("10", "2 cores of a CPU", "abc, def")
    assert line["command"] == "`python -m training train toy1d --seed 0 --out RUN`"[:39] + "SEED --out RUN`"


def test_a_failed_game_does_not_hide_the_others(tmp_path: Path) -> None:
    """The median stays where most games ended, and the best is the greatest where more is better."""
    for seed, value in enumerate((7.0, 8.0, 100.0)):
        store_result(tmp_path, "toy", "full", replace(RESULT, seed=seed, value=value))
    assert cells(make_page([replace(ROW, better="higher")], tmp_path), 0)["ours"].endswith("median 8, best 100")
    assert cells(make_page([replace(ROW, better="nearer")], tmp_path), 0)["ours"].endswith("median 8")


@pytest.mark.parametrize(("measure", "verdict"), [("w1", "shown, p = 0.05"), ("w1@other", "not run")])
def test_a_twin_by_another_measure_decides_nothing(measure: str, verdict: str, tmp_path: Path) -> None:
    """A KID by one classifier is not compared with a KID by another, whichever is lower; with p where it is."""
    claim = Claim(system="toys", text="it is nearer", bar=Below("twin"))
    row, twin = replace(ROW, full=replace(ROW.full, claim=claim), scaled=None), replace(ROW, name="twin", scaled=None)
    for seed in range(3):
        store_result(tmp_path, "toy", "full", replace(RESULT, seed=seed))
        store_result(tmp_path, "twin", "full", replace(RESULT, seed=seed, value=3.0, measure=measure))
    assert cells(make_page([row, twin], tmp_path), 0)["verdict"] == verdict


def test_a_rate_has_no_median(tmp_path: Path) -> None:
    """Of games that collapsed or did not, the mean is the rate and says all."""
    for seed, value in enumerate((0.0, 1.0, 1.0, 0.0)):
        store_result(tmp_path, "toy", "full", replace(RESULT, seed=seed, value=value))
    row = replace(ROW, full=replace(ROW.full, seeds=4), is_share=True)
    assert cells(make_page([row], tmp_path), 0)["ours"] == "**50 ± 58 %**"


def test_one_seed_shows_its_own_error_and_how_many_are_missing(tmp_path: Path) -> None:
    """2 ± .25, one of three; a share is shown in per cent; scaled results stand on the scaled line alone."""
    store_result(tmp_path, "toy", "scaled", replace(RESULT, seconds=None))
    page = make_page([replace(ROW, is_share=True)], tmp_path)
    assert cells(page, 0)["ours"] == "not run"
    line = cells(page, 1)
    assert (line["ours"], line["seeds"], line["seconds"]) == ("**200 ± 25 %**", "1 of 3", "not written down")
    assert "*scaled*" in line["recipe, data"]


def test_results_are_kept_by_seed(tmp_path: Path) -> None:
    """Stored in any order they come back in the seeds' order; a second result of a seed replaces the first."""
    for seed, value in ((2, 1.0), (0, 5.0), (2, 7.0)):
        store_result(tmp_path / "new", "toy", "full", replace(RESULT, seed=seed, value=value))
    assert [(r.seed, r.value) for r in load_results(tmp_path / "new", "toy", "full")] == [(0, 5.0), (2, 7.0)]
    assert load_results(tmp_path / "new", "toy", "scaled") == []


@pytest.mark.parametrize("content", ["", "{}", '{"results": [{"seed": 0}]}', "[]"])
def test_a_damaged_file_of_results_is_told(tmp_path: Path, content: str) -> None:
    """The error names the file; nothing is taken for an absent result and run again over it."""
    path_of(tmp_path, "toy", "full").write_text(content)
    with pytest.raises(TrainingError, match=r"toy\.json is no file of results"):
        load_results(tmp_path, "toy", "full")


def test_a_page_goes_out_of_date(tmp_path: Path) -> None:
    """A new result makes the check fail until the page is made anew."""
    assert not is_current([ROW], tmp_path)
    write_page([ROW], tmp_path)
    assert is_current([ROW], tmp_path)
    store_result(tmp_path / RESULTS, "toy", "full", RESULT)
    assert not is_current([ROW], tmp_path)
    write_page([ROW], tmp_path)
    assert is_current([ROW], tmp_path)


def test_rows_are_chosen_by_name() -> None:
    """None named are all; an unknown one is refused with those that there are."""
    assert choose([ROW], []) == [ROW]
    assert choose([ROW], ["toy", "toy"]) == [ROW]
    with pytest.raises(TrainingError, match="must be one of toy, got tory"):
        choose([ROW], ["tory"])


def test_the_page_of_systems_has_a_line_for_each_with_its_verdicts() -> None:
    """docs/SYSTEMS.md: claims of the rows of its recipes, completion's apart from DCGAN's; R3GAN is no such system."""
    page = make_systems(ROWS, ROOT / "docs" / RESULTS)
    lines = {line.split("<br>")[0].removeprefix("| "): line for line in page.splitlines() if "<br>" in line}
    assert list(lines) == [system.name for system in SYSTEMS]
    assert "digits without labels" in lines["DCGAN"]
    assert "digits without labels" not in lines["completion"]
    assert "20 points" in lines["completion"]
    assert "| not shown (3)<br>" in lines["gates"]
    assert "<br>shown (2); shown, scaled; not shown (2); not shown, scaled |" in lines["completion"]
