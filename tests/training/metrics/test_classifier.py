"""The classifier: its training, name, cache and use."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from training.data import DataSet, load
from training.errors import ScoreError
from training.metrics import classifier as classifiers
from training.metrics.classifier import Classifier, classifier_for, has_classifier
from training.metrics.lenet import FEATURES, LeNet, trained

pytestmark = pytest.mark.slow


def test_it_names_digits_that_it_has_not_seen(classifier: Classifier, digits_test: DataSet) -> None:
    """The classifier of the 8x8 digits is right on 97 % of the test part, and about so on what it held out."""
    assert digits_test.labels is not None
    assert classifier.accuracy_on(digits_test.items, digits_test.labels) >= 0.97
    assert classifier.accuracy >= 0.95
    assert classifier.held_out == 144


def test_it_is_named_by_its_weights(classifier: Classifier) -> None:
    """The name is lenet@ and six hex digits, and another weight is another name."""
    assert classifier.name.startswith("lenet@")
    assert len(classifier.name) == len("lenet@3fa1c2")
    net = LeNet((1, 8, 8), 10)
    net.load_state_dict(classifier.net.state_dict())
    same = Classifier(net, shape=(1, 8, 8), data="digits", classes=classifier.classes, accuracy=1, held_out=0)
    assert same.name == classifier.name
    with torch.no_grad():
        next(net.parameters()).view(-1)[0] += 1e-3
    other = Classifier(net, shape=(1, 8, 8), data="digits", classes=classifier.classes, accuracy=1, held_out=0)
    assert other.name != classifier.name


def test_training_twice_gives_the_same_weights_and_leaves_the_callers_dice(digits: DataSet) -> None:
    """The same data and seed give the same weights; the global random state is as before."""
    assert digits.labels is not None
    before = torch.get_rng_state()
    nets = [trained(digits.items[:70], digits.labels[:70], classes=10, device=torch.device("cpu")) for _ in range(2)]
    assert torch.equal(before, torch.get_rng_state())
    for first, second in zip(nets[0].parameters(), nets[1].parameters(), strict=True):
        assert torch.equal(first, second)


def test_images_that_are_too_small_are_one_sentence(tmp_path: Path) -> None:
    """Nothing is trained; the sentence has both sizes."""
    data, said = load("digits", size=4, environ={}), list[str]()
    assert not has_classifier(data)
    with pytest.raises(ScoreError, match=r"images of at least 8x8 pixels; those of digits are of 4x4"):
        classifier_for(data, cache=tmp_path, say=said.append)
    assert said == []


def test_it_stays_in_evaluation_mode(classifier: Classifier, digits: DataSet) -> None:
    """train() does not switch dropout on, and asking twice gives the same answer."""
    before = classifier.features_of(digits.items[:50])
    assert not classifier.train().training
    assert not any(module.training for module in classifier.modules())
    after = classifier.features_of(digits.items[:50])
    assert torch.equal(before.probabilities, after.probabilities)
    assert not any(parameter.requires_grad for parameter in classifier.parameters())


def test_what_it_sees_has_the_promised_shape(classifier: Classifier, digits: DataSet) -> None:
    """Features are float64 [N,128], not negative; probabilities sum to one; a slice is a slice of both."""
    output = classifier.features_of(digits.items[:7])
    assert output.features.shape == (7, FEATURES)
    assert output.features.dtype == torch.float64
    assert float(output.features.min()) >= 0
    assert float(classifier.features_of(digits.items).features.square().mean()) == pytest.approx(1, rel=0.1)
    torch.testing.assert_close(output.probabilities.sum(1), torch.ones(7, dtype=torch.float64))
    assert len(output[:3]) == 3
    torch.testing.assert_close(classifier(digits.items[:7]), output.features)


def test_the_second_time_it_comes_from_the_cache(digits: DataSet, classifier: Classifier, cache: Path) -> None:
    """Nothing is trained again: same name, same accuracy, nothing said, one file."""
    said: list[str] = []
    again = classifier_for(digits, cache=cache, say=said.append)
    assert (again.name, again.accuracy, said) == (classifier.name, classifier.accuracy, [])
    assert len(list(cache.iterdir())) == 1


def _few(digits: DataSet) -> DataSet:
    assert digits.labels is not None
    return dataclasses.replace(digits, items=digits.items[:60], labels=digits.labels[:60])


@pytest.mark.parametrize("damage", ["cut short", "other weights", "not a file of weights", "another key"])
def test_a_damaged_cache_is_said_and_made_anew(digits: DataSet, tmp_path: Path, damage: str) -> None:
    """For any damage of the file the classifier is the same, and the file is replaced."""
    data = _few(digits)
    first = classifier_for(data, cache=tmp_path)
    (path,) = tmp_path.iterdir()
    whole = path.read_bytes()
    saved = torch.load(path, weights_only=True)
    match damage:
        case "cut short":
            path.write_bytes(whole[: len(whole) // 2])
        case "other weights":
            saved["weights"]["last.bias"][0] += 1
            torch.save(saved, path)
        case "another key":
            torch.save(saved | {"key": "0" * 64}, path)
        case _:
            path.write_bytes(b"")
    said: list[str] = []
    again = classifier_for(data, cache=tmp_path, say=said.append)
    assert again.name == first.name
    assert "is damaged and is trained again" in said[0]
    said.clear()
    assert classifier_for(data, cache=tmp_path, say=said.append).name == first.name
    assert said == []


def test_other_data_has_another_file(digits: DataSet, tmp_path: Path) -> None:
    """One pixel of difference is another classifier."""
    data = _few(digits)
    classifier_for(data, cache=tmp_path)
    other = data.items.clone()
    other[0, 0, 0, 0] = 255 - other[0, 0, 0, 0]
    classifier_for(dataclasses.replace(data, items=other), cache=tmp_path)
    assert len(list(tmp_path.iterdir())) == 2


def test_it_learns_from_as_many_images_as_fit_into_its_share_of_memory(
    digits: DataSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The number is bounded by the images' bytes, which it says; those held out are as many as before."""
    monkeypatch.setattr(classifiers, "MOST_KNOWN_BYTES", 200 * digits.items[0].nbytes)
    said: list[str] = []
    found = classifier_for(digits, cache=tmp_path, say=said.append)
    assert said == ["training the classifier of digits on 200 images; once, then it is cached"]
    assert (found.held_out, found.accuracy > 0.5) == (144, True)


def test_training_copies_no_more_images_than_a_batch(digits: DataSet, monkeypatch: pytest.MonkeyPatch) -> None:
    """Images are framed batch by batch: all of a set at once took more than twice its share of memory."""
    framed: list[int] = []
    pad = functional.pad

    def spy(images: Tensor, sizes: tuple[int, ...]) -> Tensor:
        framed.append(len(images))
        return pad(images, sizes)

    monkeypatch.setattr(functional, "pad", spy)
    assert digits.labels is not None
    trained(digits.items[:130], digits.labels[:130], classes=10, device=torch.device("cpu"))
    assert set(framed) == {64}


def test_large_images_are_looked_at_in_smaller_numbers(
    classifier: Classifier, digits: DataSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Features and probabilities are the same up to rounding."""
    expected = classifier.features_of(digits.items[:40])
    monkeypatch.setattr(classifiers, "MOST_VALUES", 7 * 64)
    found = classifier.features_of(digits.items[:40])
    torch.testing.assert_close(found.features, expected.features, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(found.probabilities, expected.probabilities, rtol=1e-5, atol=1e-5)


def test_of_few_images_none_is_held_out(digits: DataSet, tmp_path: Path) -> None:
    """Of nine the accuracy is not known; the cached file is no damaged one for that."""
    assert digits.labels is not None
    data = dataclasses.replace(digits, items=digits.items[:9], labels=digits.labels[:9])
    said: list[str] = []
    first, again = (classifier_for(data, cache=tmp_path, say=said.append) for _ in range(2))
    assert said == ["training the classifier of digits on 9 images; once, then it is cached"]
    assert first.name == again.name
    assert (again.held_out, math.isnan(again.accuracy)) == (0, True)


def test_points_and_unlabelled_images_have_no_classifier(digits: DataSet, tmp_path: Path) -> None:
    """The error says what is missing."""
    with pytest.raises(ScoreError, match="ring8 has none"):
        classifier_for(load("ring8", environ={}), cache=tmp_path)
    with pytest.raises(ScoreError, match="needs labelled images"):
        classifier_for(dataclasses.replace(digits, labels=None, classes=()), cache=tmp_path)


def test_images_of_another_shape_are_refused(classifier: Classifier) -> None:
    """The error holds both shapes."""
    with pytest.raises(ScoreError, match=r"\[1, 8, 8\], got torch.uint8 of \[1, 28, 28\]"):
        classifier.features_of(torch.zeros(2, 1, 28, 28, dtype=torch.uint8))


@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 28, 28), (1, 32, 32), (3, 64, 64), (1, 8, 30), (3, 65, 9), (3, 129, 300)])
def test_the_net_takes_any_size(shape: tuple[int, ...]) -> None:
    """From 8x8 on, any channels, square or not."""
    net = LeNet(shape, 5)
    images = torch.zeros(2, *shape, dtype=torch.uint8)
    assert net.logits(net.features(images)).shape == (2, 5)


def test_large_images_are_shortened_first() -> None:
    """A net for 128x128 has the weights of one for 64x64, and sees an image as that one sees the averages of its squares."""
    small, large = LeNet((1, 64, 64), 5), LeNet((1, 128, 128), 5)
    large.load_state_dict(dict(zip(large.state_dict(), small.state_dict().values(), strict=True)))
    images = torch.randint(0, 256, (2, 1, 64, 64), dtype=torch.uint8)
    enlarged = images.repeat_interleave(2, 2).repeat_interleave(2, 3)
    assert torch.allclose(large.features(enlarged), small.features(images), atol=1e-6)


def test_images_too_small_are_refused() -> None:
    """Below 8x8 there is nothing to pool."""
    with pytest.raises(ValueError, match="at least 8x8, got 7x9"):
        LeNet((1, 7, 9), 10)


@pytest.fixture
def untrained(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """Classifiers that learn nothing, each another one; those that were made so far."""
    made: list[dict[str, Any]] = []

    def train(*_: object) -> dict[str, Any]:
        torch.manual_seed(len(made))
        weights = LeNet((1, 8, 8), 10).state_dict()
        made.append({"weights": weights, "digest": classifiers.weights_digest(weights), "accuracy": 0.5})
        return made[-1]

    monkeypatch.setattr(classifiers, "_train", train)
    return made


def test_a_faster_job_decides(
    digits: DataSet, untrained: list[dict[str, Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run measures all its life by one classifier: the first that was kept, also where two jobs fit it at once."""
    train = classifiers._train

    def train_late(*arguments: Any) -> dict[str, Any]:
        mine = train(*arguments)
        monkeypatch.setattr(classifiers, "_train", train)
        classifier_for(digits, cache=tmp_path)
        return mine

    monkeypatch.setattr(classifiers, "_train", train_late)
    late = classifier_for(digits, cache=tmp_path)
    assert len(untrained) == 2
    assert late.name == classifier_for(digits, cache=tmp_path).name == f"lenet@{untrained[1]['digest'][:6]}"


@pytest.mark.usefixtures("untrained")
def test_a_cache_that_cannot_be_written_costs_no_classifier(digits: DataSet, tmp_path: Path) -> None:
    """It was fitted and then the job ended, at every start."""
    (tmp_path / "file").touch()
    said: list[str] = []
    assert classifier_for(digits, cache=tmp_path / "file" / "cache", say=said.append).name.startswith("lenet@")
    assert said[-1].startswith("the classifier is not kept: Not a directory: ")
