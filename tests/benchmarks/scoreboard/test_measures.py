"""Where a row's figure is read: from files as the commands write them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks.scoreboard.measures import Against, Collapsed, Examined, Logged, OverGrid, Scored, WhereFound
from benchmarks.scoreboard.searched import Filled, Reconstructed
from benchmarks.scoreboard.stages import RankCorrelation, StepsTo
from training.errors import ScoreError


def write(path: Path, content: Any) -> None:
    """One JSON file."""
    path.write_text(json.dumps(content))


def row(measure: str, value: float) -> dict[str, Any]:
    """A row as ``score`` writes it."""
    return {"measure": measure, "value": value, "error": 0.1, "real": 0.2, "real_error": None, "samples": 50, "by": "hand"}


def test_a_score_is_found_by_the_beginning_of_its_name(tmp_path: Path) -> None:
    """kid finds the classifier's kid with real data's value and count, and not what only begins so; the others are kept."""
    write(tmp_path / "scores.json", {"rows": [row("kidney", 9.0), row("kid-lenet@3fa1c2", 1.5), row("parzen", 7.0)]})
    measurement = Scored(name="kid").read(tmp_path)
    assert (measurement.measure, measurement.value, measurement.real, measurement.samples) == ("kid-lenet@3fa1c2", 1.5, 0.2, 50)
    assert measurement.others["parzen"] == 7.0
    with pytest.raises(ScoreError, match="no measure 'fid'"):
        Scored(name="fid").read(tmp_path)


@pytest.mark.parametrize(("mean", "value", "error"), [(4.9, 0.3, 0.1), (3.1, 0.3, 0.1), (5.1, None, None), (2.9, None, None)])
def test_samples_that_missed_the_data_have_no_value(
    mean: float, value: float | None, error: float | None, tmp_path: Path
) -> None:
    """The spread counts where the mean is within 1 of 4; the other scores are kept."""
    write(tmp_path / "scores.json", {"rows": [row("mean", mean), row("sd", 0.3)]})
    measurement = WhereFound(name="sd", mean=4.0, within=1.0).read(tmp_path)
    assert (measurement.value, measurement.error) == (value, error)
    assert (measurement.measure, measurement.others) == ("sd where the mean is 4 ± 1", {"mean": mean, "sd": 0.3})


def test_a_score_says_how_many_samples() -> None:
    """The counts stand in the command."""
    assert Scored(name="kid", samples=5).commands({}) == [["score", "RUN", "--samples", "5"]]
    assert Scored(name="1nn-error", nearest=7).commands({})[0][-2:] == ["--nearest", "7"]


def test_an_examination_is_read_by_name(tmp_path: Path) -> None:
    """The recipe's own numbers on the test part."""
    write(tmp_path / "examination.json", {"step": 5, "data": "mnist", "samples": 10_000, "values": {"errors": 93.0}})
    measurement = Examined(name="errors").read(tmp_path)
    assert (measurement.value, measurement.samples, measurement.by) == (93.0, 10_000, "test part of mnist")
    with pytest.raises(ScoreError, match="no value 'code-error'"):
        Examined(name="code-error").read(tmp_path)


def test_an_accuracy_says_by_which_classifier(tmp_path: Path) -> None:
    """What was measured without one does not, though it stands in the same file."""
    values = {"accuracy": 0.9, "sharpness": 1.0}
    content = {"step": 5, "data": "mnist", "samples": 10, "classifier": "lenet@3fa1c2", "values": values}
    write(tmp_path / "examination.json", content)
    assert Examined(name="accuracy").read(tmp_path).classifier == "lenet@3fa1c2"
    assert Examined(name="sharpness").read(tmp_path).classifier is None


@pytest.mark.parametrize(("entropy", "collapsed"), [(0.0, 1.0), (1.79, 1.0), (1.8, 0.0), (2.302, 0.0)])
def test_a_run_has_collapsed_where_the_alarm_would_sound(tmp_path: Path, entropy: float, collapsed: float) -> None:
    """Six of ten classes are e^1.792; below it is 1, above it 0."""
    write(tmp_path / "scores.json", {"rows": [row("entropy-lenet@3fa1c2", entropy)]})
    measurement = Collapsed().read(tmp_path)
    assert (measurement.value, measurement.classifier) == (collapsed, "lenet@3fa1c2")


def test_a_missing_file_is_told(tmp_path: Path) -> None:
    """The error names it."""
    with pytest.raises(ScoreError, match=r"examination\.json cannot be read"):
        Examined(name="errors").read(tmp_path)


def test_a_logged_scalar_is_the_last_record(tmp_path: Path) -> None:
    """Of several lines the last counts; one that was not finite is refused."""
    lines = [{"step": 1, "images": 8, "accuracy/real": 0.1}, {"step": 2, "images": 16, "accuracy/real": 0.7, "D/loss": None}]
    (tmp_path / "stats.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert Logged(name="accuracy/real").read(tmp_path).value == 0.7
    with pytest.raises(ScoreError, match="no 'D/loss' in its last line"):
        Logged(name="D/loss").read(tmp_path)


def test_gmam_is_summed_over_the_opponents(tmp_path: Path) -> None:
    """.5 and -.2 are .3; each command weighs its opponent's discriminators and the own; one file less is refused."""
    measure = Against(opponents=("one", "two"), lambdas={"two": "inf"}, own="3", samples=9)
    words = measure.commands({"one": Path("a"), "two": Path("b")})
    assert words[0] == ["gmam", "a", "RUN", "--samples", "9", "--second-lambda", "3"]
    assert words[1] == ["gmam", "b", "RUN", "--samples", "9", "--first-lambda", "inf", "--second-lambda", "3"]
    write(tmp_path / "gmam-a.json", {**row("gmam", 0.5), "by_first": 0.3, "by_second": 0.2})
    with pytest.raises(ScoreError, match="must hold 2 comparisons, got 1"):
        measure.read(tmp_path)
    write(tmp_path / "gmam-b.json", {**row("gmam", -0.2), "by_first": -0.3, "by_second": 0.1})
    assert measure.read(tmp_path).value == pytest.approx(0.3)
    assert measure.read(tmp_path).measure == "gmam, 1 of 2 agreed"


def test_a_reconstruction_is_read_whole(tmp_path: Path) -> None:
    """Value, error and real data as the command wrote them."""
    write(tmp_path / "reconstruction.json", row("mre", 3.0))
    measurement = Reconstructed(images=5).read(tmp_path)
    assert (measurement.value, measurement.error, measurement.real) == (3.0, 0.1, 0.2)
    assert Reconstructed(images=5).commands({})[0][:4] == ["reconstruct", "RUN", "--images", "5"]


def test_a_scalar_that_falls_with_kid_follows_it(tmp_path: Path) -> None:
    """Over three stages, -D/loss of each stage's later half falls as KID does: 1; the early half is not looked at."""
    stages = [{"step": step, "values": {"kid-lenet@3fa1c2": kid}} for step, kid in ((10, 0.9), (20, 0.5), (30, 0.1))]
    write(tmp_path / "stages.json", {"stages": stages})
    losses = {4: 99.0, 8: -3.0, 12: 99.0, 18: -2.0, 20: -2.2, 24: -99.0, 30: -1.0}
    lines = [json.dumps({"step": step, "images": step, "D/loss": loss}) + "\n" for step, loss in losses.items()]
    (tmp_path / "stats.jsonl").write_text("".join(lines))
    measurement = RankCorrelation(scalar="D/loss", sign=-1).read(tmp_path)
    assert measurement.value == pytest.approx(1)
    assert (measurement.measure, measurement.classifier) == ("spearman(-D/loss, kid)", "lenet@3fa1c2")
    assert RankCorrelation(scalar="D/loss").read(tmp_path).value == pytest.approx(-1)
    with pytest.raises(ScoreError, match="no 'G/loss' between steps 5 and 10"):
        RankCorrelation(scalar="G/loss").read(tmp_path)


def test_a_completion_is_read_from_the_folder_of_its_mask(tmp_path: Path) -> None:
    """The value of its name, the number of test images, and all other values."""
    (tmp_path / "completed-left").mkdir()
    values = {"psnr-gain": 1.5, "psnr": 9.0, "accuracy-gain": 0.25}
    content = {"data": "mnist", "samples": 7, "classifier": "lenet@3fa1c2", "values": values}
    write(tmp_path / "completed-left" / "completion.json", content)
    measure = Filled(name="psnr-gain", mask="left", images=7)
    measurement = measure.read(tmp_path)
    assert (measurement.value, measurement.samples, measurement.others) == (1.5, 7, values)
    assert measurement.classifier is None
    assert Filled(name="accuracy-gain", mask="left", images=7).read(tmp_path).classifier == "lenet@3fa1c2"
    assert measure.commands({}) == [["complete", "RUN", "--mask", "left", "--test", "7", "--steps", "1000"]]


def test_a_variant_is_exported_and_scored_apart(tmp_path: Path) -> None:
    """Its figures have a file of their own, so that rows of one run do not overwrite each other's."""
    write(tmp_path / "scores-parity.json", {"rows": [row("agreement-lenet@0", 0.9)]})
    measure = Scored(name="agreement", samples=7, variant="parity")
    assert measure.read(tmp_path).value == 0.9
    assert measure.commands({}) == [
        ["export", "RUN", "--variant", "parity"],
        ["score", "RUN/model-parity.onnx", "--samples", "7"],
    ]


@pytest.mark.parametrize(
    ("kids", "steps"), [((0.9, 0.3, 0.05), 240.0), ((0.05, 0.1, 0.01), 100.0), ((0.9, 0.8, 0.7), 600.0)], ids=str
)
def test_steps_to_a_kid(kids: tuple[float, ...], steps: float, tmp_path: Path) -> None:
    """In proportion between two stages; the first stage where it suffices; twice the run where no stage does."""
    write(
        tmp_path / "stages.json",
        {"stages": [{"step": 100 * (i + 1), "values": {"kid-lenet@0": kid}} for i, kid in enumerate(kids)]},
    )
    measurement = StepsTo(kid=0.2).read(tmp_path)
    assert measurement.value == pytest.approx(steps)
    assert measurement.classifier == "lenet@0"
    assert measurement.others["kid at step 100"] == kids[0]


def test_a_grid_is_the_mean_of_one_kind_of_game(tmp_path: Path) -> None:
    """A game that broke counts as 0; other kinds don't count."""
    games = [("ebgan_g1", "ebgan", 3.0), ("ebgan_g2", "ebgan", 0.0), ("ebgan_pt_g1", "ebgan_pt", 9.0)]
    by = {"classifier": "lenet@3fa1c2"}
    lines = [json.dumps({"step": 5, "recipe": name, "kind": kind, "score": score, **by}) for name, kind, score in games]
    (tmp_path / "stats.jsonl").write_text("\n".join(lines) + "\n")
    measurement = OverGrid(kind="ebgan").read(tmp_path)
    assert (measurement.value, measurement.by) == (1.5, "mean of 2 points of the grid")
    assert measurement.classifier == "lenet@3fa1c2"
    assert measurement.others == {"ebgan_g1": 3.0, "ebgan_g2": 0.0}
    with pytest.raises(ScoreError, match="no game of kind 'gan'"):
        OverGrid(kind="gan").read(tmp_path)
