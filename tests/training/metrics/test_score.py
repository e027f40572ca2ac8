"""Scores of model files: the ONNX itself runs, the measures follow its card, each next to real data."""

from __future__ import annotations

import dataclasses
import errno
import io
import json
from pathlib import Path
from typing import Any

import onnx
import pytest
import torch
from rich.console import Console

from contract import CardError, draw
from tests.training.metrics.conftest import ModelFile
from training.data import DataSet
from training.errors import ScoreError
from training.metrics import command
from training.metrics import score as scores_of
from training.metrics.classifier import Classifier, classifier_for
from training.metrics.command import run_score
from training.metrics.rows import PARITY
from training.metrics.sampled import sample_model
from training.metrics.score import score


def test_samples_are_those_of_seeds_from_zero(picker: ModelFile) -> None:
    """Row i is what the contract draws for seed i, as channels first, over more seeds than a batch."""
    sampled = sample_model(picker(), 130)
    assert sampled.items.shape == (130, 1, 8, 8)
    assert sampled.items.dtype == torch.uint8
    assert sampled.asked is not None
    assert sampled.asked.tolist() == draw(sampled.card.latents, range(130))["y"].tolist()
    same = sampled.asked == sampled.asked[0]
    assert torch.equal(sampled.items[same][0], sampled.items[same][-1])


@pytest.mark.slow
def test_a_conditional_image_model(picker: ModelFile, digits: DataSet, digits_test: DataSet, classifier: Classifier) -> None:
    """All rows are there with real_values; real digits of each class are agreed on; one picture a class is a collapse."""
    scores = score(picker(), digits, digits_test, samples=300, classifier=classifier)
    tail = classifier.name
    judged = ("kid", "fid", "confidence", "entropy", "least-class", "precision", "recall", "density", "coverage", "agreement")
    by_pixels = ("parzen", "memorisation", "1nn-error")
    assert [row.measure for row in scores.rows] == [*(f"{name}-{tail}" for name in (*judged, "recall-within")), *by_pixels]
    rows = {row.measure: row for row in scores.rows}
    assert all(row.real is not None for row in scores.rows)
    assert rows[f"agreement-{tail}"].value == 1
    assert rows[f"recall-within-{tail}"].value < 0.1 < (rows[f"recall-within-{tail}"].real or 0)
    assert rows[f"fid-{tail}"].value > 3 * (rows[f"fid-{tail}"].real or 0)
    assert rows[f"kid-{tail}"].value > 10 * abs(rows[f"kid-{tail}"].real or 0)
    assert rows["parzen"].value < (rows["parzen"].real or 0)
    assert rows[f"coverage-{tail}"].value < 0.5 < (rows[f"coverage-{tail}"].real or 0)
    assert rows["memorisation"].value == 0
    assert (rows["1nn-error"].real or 0) < rows["1nn-error"].value < 0.6
    assert rows["1nn-error"].samples == 300
    assert sum(scores.histogram.values()) == pytest.approx(1)
    assert scores.alarm is not None
    assert "within a class" in scores.alarm
    assert scores.classifier is not None
    assert scores.classifier["accuracy_reference"] >= 0.97
    assert scores.notes == ()
    assert scores.values["parzen"] == rows["parzen"].value


def test_the_nearest_neighbours_may_be_of_more_samples(picker: ModelFile, digits: DataSet, digits_test: DataSet) -> None:
    """1nn-error has its own count; the others keep theirs."""
    scores = score(picker(), digits, digits_test, samples=50, nearest=120)
    assert {row.measure: row.samples for row in scores.rows} == {"parzen": 50, "memorisation": 50, "1nn-error": 120}


def test_without_a_test_part_the_data_is_halved(picker: ModelFile, digits: DataSet, classifier: Classifier) -> None:
    """The reference and the real data compared with it are disjoint halves, and a note says so."""
    scores = score(picker(), digits, None, samples=50, classifier=classifier)
    assert "no test part here: the reference is one half of its 1,442 items" in scores.notes[0]
    assert all(row.real is not None for row in scores.rows)


def test_of_a_set_on_disk_a_part_is_compared_with(
    picker: ModelFile, digits: DataSet, classifier: Classifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two halves of what fits into memory, whose bytes are bounded; the note says how many of how many."""
    monkeypatch.setattr(scores_of, "MOST_REAL_BYTES", 300 * 64)
    data = dataclasses.replace(digits, prefetch=lambda indices: None)
    scores = score(picker(), data, None, samples=50, classifier=classifier)
    assert "the reference is one half of 300 of its 1,442 items" in scores.notes[0]
    assert all(row.real is not None for row in scores.rows)


def test_few_real_images_are_enough_and_fewer_are_refused(picker: ModelFile, digits: DataSet, tmp_path: Path) -> None:
    """Of four, two on either side, there is a score; of three the sentence says how many are needed."""
    assert digits.labels is not None
    for count in (4, 3):
        few = dataclasses.replace(digits, items=digits.items[:count], labels=digits.labels[:count])
        if count == 4:
            classifier = classifier_for(few, cache=tmp_path)
            found = score(picker(), few, None, samples=20, classifier=classifier).classifier
            assert found is not None
            assert found["accuracy_held_out"] is None
        else:
            with pytest.raises(ScoreError, match="digits has 3 items; a score needs four"):
                score(picker(), few, None, samples=20)


def test_without_a_judge_what_needs_one_is_left_out(picker: ModelFile, digits: DataSet, digits_test: DataSet) -> None:
    """Measures by pixels remain, and a note says what is missing."""
    scores = score(picker(), digits, digits_test, samples=50)
    assert [row.measure for row in scores.rows] == ["parzen", "memorisation", "1nn-error"]
    assert "KID, FID, classes and confidence are left out" in scores.notes[0]
    assert scores.classifier is None
    assert scores.histogram == {}


def test_a_model_that_is_asked_for_parity_can_collapse(
    picker: ModelFile, digits: DataSet, digits_test: DataSet, classifier: Classifier
) -> None:
    """Nothing but a 0 for even and a 1 for odd is a collapse: the alarm counts the classes of the data, not those asked for."""
    scores = score(picker(PARITY), digits, digits_test, samples=100, classifier=classifier)
    assert scores.alarm is not None
    assert "100 samples show 2.0 of 10 classes" in scores.alarm


def test_a_judge_of_other_classes_does_not_compare_them(picker: ModelFile, digits: DataSet, classifier: Classifier) -> None:
    """No agreement where the classes are called otherwise."""
    scores = score(picker(tuple("abcdefghij")), digits, None, samples=50, classifier=classifier)
    assert not any(row.measure.startswith("agreement") for row in scores.rows)
    assert any("other classes" in note for note in scores.notes)


def test_a_perfect_point_model_scores_its_floor(line: ModelFile, tmp_path: Path) -> None:
    """4 + z/2 against gaussian1d: mean 4, sd .5, distances near those of real points, no alarm; the file holds the same."""
    out = io.StringIO()
    written = run_score(line(), samples=3000, environ={}, console=Console(file=out, width=200))
    rows = {row["measure"]: row for row in written["rows"]}
    assert list(rows) == ["mean", "sd", "sliced-w2", "w1"]
    assert rows["mean"]["value"] == pytest.approx(4, abs=4 * rows["mean"]["error"])
    assert rows["sd"]["value"] == pytest.approx(0.5, abs=4 * rows["sd"]["error"])
    assert rows["w1"]["value"] < 3 * rows["w1"]["real"]
    assert written["alarm"] is None
    assert json.loads((tmp_path / "scores.json").read_text()) == json.loads(json.dumps(written))
    assert written["steps"] == 0
    assert "sliced-w2" in out.getvalue()


def test_a_narrow_point_model_alarms(line: ModelFile) -> None:
    """A tenth of the spread is printed as a collapse."""
    out = io.StringIO()
    run_score(line(0.05), samples=1000, environ={}, console=Console(file=out, width=200))
    assert "10% as wide as gaussian1d" in out.getvalue()


@pytest.mark.parametrize(("option", "name"), [("classifier_data", "--classifier"), ("nearest", "--nearest")])
def test_what_is_for_images_is_refused_for_points(option: str, name: str, line: ModelFile, tmp_path: Path) -> None:
    """A value that would change nothing is not passed over in silence; nothing is written."""
    given: dict[str, Any] = {option: "digits" if option == "classifier_data" else 100}
    with pytest.raises(ScoreError, match=f"{name} is for models of images, and tiny-gaussian1d makes points: leave it out"):
        run_score(line(), environ={}, console=Console(file=io.StringIO()), **given)
    assert not (tmp_path / "scores.json").exists()


def test_the_command_does_everything(picker: ModelFile, classifier: Classifier, cache: Path, tmp_path: Path) -> None:
    """Data and classifier follow the card; the classifier is kept under the cache; the table has value, error and real data."""
    kept = tmp_path / "gan-serve" / "classifiers"
    kept.mkdir(parents=True)
    for path in cache.iterdir():
        (kept / path.name).write_bytes(path.read_bytes())
    out = io.StringIO()
    written = run_score(picker(), samples=100, environ={"XDG_CACHE_HOME": str(tmp_path)}, console=Console(file=out, width=200))
    assert written["data"] == "digits"
    assert written["classifier"]["name"] == classifier.name
    text = out.getvalue()
    for expected in (f"kid-{classifier.name}", "±", "real data", "learned from digits", "classes: 0 ", "collapse:"):
        assert expected in text


@pytest.mark.parametrize(
    ("break_it", "message"),
    [
        (lambda path: path.unlink(), "there is no model"),
        (lambda path: path.write_bytes(b"not a model"), "is not a model that onnxruntime runs"),
    ],
)
def test_what_is_no_model_is_refused(line: ModelFile, break_it: object, message: str) -> None:
    """The error names the file."""
    path = line()
    assert callable(break_it)
    break_it(path)
    with pytest.raises(ScoreError, match=message):
        sample_model(path, 1)


def test_a_model_without_a_card_is_refused(line: ModelFile, tmp_path: Path) -> None:
    """The contract's own error, with the path of the file."""
    model = onnx.load(line())
    del model.metadata_props[:]
    onnx.save(model, tmp_path / "bare.onnx")
    with pytest.raises(CardError, match=r"bare\.onnx: .*no card"):
        sample_model(tmp_path / "bare.onnx", 1)


def test_data_of_another_shape_are_refused(picker: ModelFile, digits: DataSet) -> None:
    """The error holds both shapes."""
    wide = dataclasses.replace(digits, items=torch.zeros(10, 1, 9, 9, dtype=torch.uint8), labels=None)
    with pytest.raises(ScoreError, match=r"\[1, 8, 8\], digits has \[1, 9, 9\]"):
        score(picker(), wide, None, samples=10)


def test_one_sample_is_too_few(picker: ModelFile, digits: DataSet) -> None:
    """Two are the least for which a spread is defined."""
    with pytest.raises(ScoreError, match="at least 2, got 1"):
        score(picker(), digits, None, samples=1)


def test_the_shape_is_compared_before_a_classifier_is_trained(
    picker: ModelFile, picture_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Pictures in colour are refused for a model of grey ones at once."""
    monkeypatch.setattr(command, "classifier_for", lambda *_, **__: pytest.fail("trained a classifier"))
    data = f"folder:{picture_folder}"
    with pytest.raises(ScoreError, match=r"makes items of \[1, 8, 8\], folder:.* has \[3, 8, 8\]"):
        run_score(picker(), data=data, classifier_data="digits", environ={}, console=Console(file=io.StringIO()))


class FullDevice(io.StringIO):
    """An output that takes nothing."""

    def write(self, text: str) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")


def test_scores_are_kept_where_they_cannot_be_printed(line: ModelFile, tmp_path: Path) -> None:
    """``> /dev/full`` ends the command with the file written; the file of another model has that model's name."""
    for name, file in (("model", "scores.json"), ("model-ema", "scores-ema.json"), ("a", "a-scores.json")):
        model = line().rename(tmp_path / f"{name}.onnx")
        with pytest.raises(OSError, match="No space left"):
            run_score(model, samples=10, environ={}, console=Console(file=FullDevice()))
        assert json.loads((tmp_path / file).read_text())["data"] == "gaussian1d"


def test_the_kid_of_all_images_has_no_error(
    picker: ModelFile, digits: DataSet, digits_test: DataSet, classifier: Classifier
) -> None:
    """Where each subset would be the whole of both sides, their deviation of 0 says nothing; of fewer samples there is one."""
    for samples in (len(digits_test), 100):
        row = score(picker(), digits, digits_test, samples=samples, classifier=classifier).rows[0]
        is_whole = samples == len(digits_test)
        assert (row.error is None, row.real_error is None) == (is_whole, is_whole)
        assert row.by == (f"all {samples} at once" if is_whole else "100 subsets of 100, error is their sd")


def test_few_samples_raise_no_alarm(picker: ModelFile, digits: DataSet, digits_test: DataSet, classifier: Classifier) -> None:
    """Two samples show two classes at most, and one of a class has no spread: that is no collapse."""
    for samples in (2, 20):
        assert score(picker(), digits, digits_test, samples=samples, classifier=classifier).alarm is None
