"""Measures of images against closed forms and short oracles."""

from __future__ import annotations

import dataclasses
import math
import resource
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from tests.training.conftest import PROCESSES
from training.data import DataSet, load
from training.metrics import images
from training.metrics.classifier import Classifier, ClassifierOutput


def _output(features: NDArray[np.float64]) -> ClassifierOutput:
    return ClassifierOutput(torch.from_numpy(features), torch.full((len(features), 2), 0.5, dtype=torch.float64))


def _kid_oracle(x: NDArray[np.float64], y: NDArray[np.float64]) -> float:
    def kernel(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.asarray((a @ b.T / a.shape[1] + 1) ** 3)

    m = len(x)
    xx, yy, xy = kernel(x, x), kernel(y, y), kernel(x, y)
    within = (xx.sum() - np.trace(xx) + yy.sum() - np.trace(yy)) / (m * (m - 1))
    return float(within - 2 * xy.mean())


def test_kid_is_the_unbiased_estimate_of_the_cubic_kernel() -> None:
    """One subset of all images equals the formula."""
    dice = np.random.default_rng(0)
    x, y = dice.normal(0, 1, (60, 5)), dice.normal(0.5, 1.2, (60, 5))
    value, deviation = images.kid(_output(x), _output(y), subsets=1, subset_size=60)
    assert value == pytest.approx(_kid_oracle(x, y), rel=1e-10)
    assert deviation == 0


@pytest.mark.filterwarnings("ignore:.*will save all extracted features")
def test_kid_is_that_of_torchmetrics() -> None:
    """The same subsets give torchmetrics the same mean and deviation."""
    from torchmetrics.image.kid import KernelInceptionDistance  # its import takes a second of each worker of the tests

    dice = np.random.default_rng(5)
    x, y = (torch.from_numpy(dice.normal(size=(count, 6))) for count in (50, 70))
    metric = KernelInceptionDistance(images.GivenFeatures(6), subsets=5, subset_size=20)
    metric.update(x, real=True)
    metric.update(y, real=False)
    with torch.random.fork_rng([]):
        torch.manual_seed(3)
        mean, deviation = metric.compute()
    expected = pytest.approx((float(mean), float(deviation)), rel=1e-9)
    assert images.kid(_output(x.numpy()), _output(y.numpy()), subsets=5, subset_size=20, seed=3) == expected


def test_kid_of_one_distribution_is_zero_on_average() -> None:
    """Over 30 pairs of fresh samples, the mean is within 3 standard errors of 0, and both signs occur."""
    dice = np.random.default_rng(1)
    values = np.array([images.kid(*(_output(dice.normal(size=(80, 6))) for _ in "ab"), subsets=1)[0] for _ in range(30)])
    assert abs(values.mean()) < 3 * values.std() / math.sqrt(30)
    assert values.min() < 0 < values.max()


def test_kid_repeats_itself_and_leaves_the_callers_dice() -> None:
    """Random subsets are the same each time, and the global random state is as before."""
    dice = np.random.default_rng(2)
    x, y = _output(dice.normal(size=(50, 4))), _output(dice.normal(size=(70, 4)))
    before = torch.get_rng_state()
    first = images.kid(x, y, subsets=5, subset_size=20)
    assert images.kid(x, y, subsets=5, subset_size=20) == first
    assert first[1] > 0
    assert torch.equal(before, torch.get_rng_state())


def test_fid_of_two_gaussians_is_the_closed_form() -> None:
    """With moments made exact: |m1 - m2|^2 + sum of (s1 - s2)^2 for diagonal covariances."""
    dice = np.random.default_rng(3)
    white = dice.normal(size=(500, 4))
    white -= white.mean(0)
    white = white @ np.linalg.inv(np.linalg.cholesky(np.cov(white.T))).T
    s1, s2, m = np.array([1, 2, 3, 0.5]), np.array([2, 1, 0.5, 0.5]), np.array([1, 0, -1, 2])
    expected = (m**2).sum() + ((s1 - s2) ** 2).sum()
    assert images.fid(_output(white * s1), _output(white * s2 + m)) == pytest.approx(expected, rel=1e-9)
    assert images.fid(_output(white), _output(white)) == pytest.approx(0, abs=1e-9)


def test_one_rank_measures_without_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    """In a game of several ranks only the first measures: it does not wait for features of the others."""
    x = _output(np.random.default_rng(4).normal(size=(30, 4)))
    expected = images.kid(x, x, subsets=2), images.fid(x, x)
    monkeypatch.setattr(torch.distributed, "is_initialized", lambda: True)
    assert (images.kid(x, x, subsets=2), images.fid(x, x)) == expected


def test_the_classifier_is_a_feature_module_of_torchmetrics(
    classifier: Classifier, digits: DataSet, digits_test: DataSet
) -> None:
    """On uint8 images it gives torchmetrics the same FID as the features that were seen before."""
    from torchmetrics.image.fid import FrechetInceptionDistance

    metric = FrechetInceptionDistance(classifier)
    metric.update(digits_test.items, real=True)
    metric.update(digits.items[:300], real=False)
    assert not classifier.training
    expected = images.fid(classifier.features_of(digits_test.items), classifier.features_of(digits.items[:300]))
    assert float(metric.compute()) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize(("counts", "nats"), [([5, 5, 5, 5], math.log(4)), ([20, 0, 0, 0], 0), ([10, 10, 0, 0], math.log(2))])
def test_entropy_of_known_histograms(counts: list[int], nats: float) -> None:
    """ln K for equal shares, 0 for a single class; both without error."""
    classes = torch.repeat_interleave(torch.arange(4), torch.tensor(counts))
    value, error = images.entropy(images.class_shares(classes, 4), 20)
    assert value == pytest.approx(nats)
    assert error == pytest.approx(0, abs=1e-7)


def test_the_error_of_the_entropy_is_its_spread_over_samples() -> None:
    """The standard error agrees with the standard deviation over 300 samples within 15 %."""
    dice = np.random.default_rng(4)
    shares = np.array([0.6, 0.3, 0.1])
    values = [images.entropy(torch.from_numpy(dice.multinomial(400, shares) / 400), 400)[0] for _ in range(300)]
    assert images.entropy(torch.from_numpy(shares), 400)[1] == pytest.approx(float(np.std(values)), rel=0.15)


def test_confidence_and_any_share() -> None:
    """Of four images, two are confident, three show what was asked."""
    probabilities = torch.tensor([[0.95, 0.05], [0.9, 0.1], [0.6, 0.4], [0.2, 0.8]], dtype=torch.float64)
    output = ClassifierOutput(torch.zeros(4, 1), probabilities)
    assert images.confidence(output) == (0.5, 0.25)
    assert images.share(output.classes == 0)[0] == 0.75


def test_spread_is_the_distance_from_the_mean() -> None:
    """Of -1 and 1 it is 1; around each group's own mean it can be 0."""
    items = torch.tensor([[-1.0], [1.0], [-1.0], [1.0]])
    assert images.spread(items) == 1
    assert images.spread(items, torch.tensor([0, 1, 0, 1])) == 0


def test_spread_is_taken_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """However few items are in memory at once, it is the same."""
    items = torch.from_numpy(np.random.default_rng(5).integers(0, 256, (23, 3, 4, 4), np.uint8))
    groups = torch.arange(23) % 3
    whole = items.double().flatten(1)
    expected = float((whole - whole.mean(0)).square().sum(1).mean().sqrt())
    within = images.spread(items, groups)
    monkeypatch.setattr(images, "AT_ONCE", 100)
    assert images.spread(items) == pytest.approx(expected, rel=1e-12)
    assert images.spread(items, groups) == pytest.approx(within, rel=1e-12)
    assert within < expected


def _spread_in_little_memory(path: Path, result: Connection) -> None:
    used = next(int(line.split()[1]) for line in Path("/proc/self/status").read_text().splitlines() if "VmData" in line)
    resource.setrlimit(resource.RLIMIT_DATA, (1024 * used + 2**28, resource.RLIM_INFINITY))
    items = torch.from_file(str(path), shared=True, size=path.stat().st_size, dtype=torch.uint8)
    try:
        result.send(images.spread(items.view(2500, 3, 128, 128)))
    except RuntimeError as error:
        result.send(str(error))


@pytest.mark.process
def test_the_spread_of_large_pictures_takes_little_memory(tmp_path: Path) -> None:
    """Of 2,500 of 128x128, 1 GB as float64, it is taken in 256 MiB: each evaluation of a run looks at twice that many."""
    with (tmp_path / "items").open("wb") as file:
        file.truncate(2500 * 3 * 128 * 128)
    ours, theirs = PROCESSES.Pipe()
    process = PROCESSES.Process(target=_spread_in_little_memory, args=(tmp_path / "items", theirs))
    process.start()
    theirs.close()
    assert ours.recv() == 0
    process.join()


def test_no_alarm_for_the_data_itself(classifier: Classifier, digits: DataSet, digits_test: DataSet) -> None:
    """Real images, asked for by their labels, are no collapse; nor without classifier and labels."""
    assert (
        images.describe_collapse(
            digits_test.items, digits, output=classifier.features_of(digits_test.items), asked=digits_test.labels
        )
        is None
    )
    assert images.describe_collapse(digits_test.items, digits) is None


def test_alarm_for_a_few_classes(classifier: Classifier, digits: DataSet) -> None:
    """All ones: the sentence holds the entropy, the bound and the class."""
    assert digits.labels is not None
    ones = digits.items[digits.labels == 1]
    alarm = images.describe_collapse(ones, digits, output=classifier.features_of(ones))
    assert alarm is not None
    assert "of 10 classes" in alarm
    assert "alarm below 1.79" in alarm
    assert "'1'" in alarm


def test_the_alarm_has_the_class_names_of_the_classifier(classifier: Classifier, digits: DataSet) -> None:
    """Data without labels, or with other classes, may be looked at by the classifier of another data set."""
    assert digits.labels is not None
    ones = digits.items[digits.labels == 1]
    output = classifier.features_of(ones)
    for labels, classes in ((None, ()), (digits.labels % 2, ("even", "odd"))):
        data = dataclasses.replace(digits, labels=labels, classes=classes)
        assert "are '1'" in str(images.describe_collapse(ones, data, output=output[: len(ones)]))


def test_no_alarm_for_the_classes_that_the_data_has(classifier: Classifier, digits: DataSet) -> None:
    """Nine of ten digits are ones in data and samples alike; where each class is asked for, those samples are a collapse."""
    assert digits.labels is not None
    order = torch.cat([(digits.labels == 1).nonzero()[:135, 0], (digits.labels != 1).nonzero()[:15, 0]])
    mostly = dataclasses.replace(digits, items=digits.items[order], labels=digits.labels[order])
    output = classifier.features_of(mostly.items)
    assert images.describe_collapse(mostly.items, mostly, output=output) is None
    asked = torch.arange(10).repeat(15)
    alarm = images.describe_collapse(mostly.items, mostly, output=output, asked=asked)
    assert alarm is not None
    assert "of 10 classes" in alarm


def test_alarm_for_one_picture_a_class(classifier: Classifier, digits: DataSet) -> None:
    """All classes are there, but each looks always the same."""
    assert digits.labels is not None
    asked = torch.arange(10).repeat(20)
    firsts = torch.tensor([int((digits.labels == label).nonzero()[0]) for label in range(10)])
    samples = digits.items[firsts[asked]]
    alarm = images.describe_collapse(samples, digits, output=classifier.features_of(samples), asked=asked)
    assert alarm is not None
    assert "spread within a class 0% as wide as digits" in alarm


def test_alarm_for_toys() -> None:
    """A narrow line and a ring of which two opposite modes are left are collapses; the true distributions are not."""
    line, ring = load("gaussian1d", environ={}), load("ring8", environ={})
    assert images.describe_collapse(line.items[:1000], line) is None
    assert images.describe_collapse(ring.items[:1000], ring) is None
    assert "10% as wide" in str(images.describe_collapse(4 + 0.1 * (line.items[:1000] - 4), line))
    assert ring.modes is not None
    assert "hit 2 of 8 modes" in str(images.describe_collapse(ring.modes[[0, 4]].repeat(500, 1), ring))


def test_no_alarm_where_the_data_is_one_picture(digits: DataSet) -> None:
    """Data without any spread cannot be spread too little."""
    data = dataclasses.replace(digits, items=digits.items[:1].repeat(20, 1, 1, 1), labels=None, classes=())
    assert images.describe_collapse(data.items, data) is None


def test_no_alarm_of_classes_where_there_are_more_than_samples() -> None:
    """A hundred samples of a thousand classes, or of 64 modes, cannot show six tenths of them; their spread still counts."""
    dice = torch.Generator().manual_seed(0)
    modes = torch.arange(64.0)[:, None]
    labels = torch.randint(0, 1000, (5000,), generator=dice)
    names = tuple(map(str, range(1000)))
    data = dataclasses.replace(load("gaussian1d", environ={}), items=modes[labels % 64], labels=labels, classes=names)
    seen = torch.nn.functional.one_hot(labels[:100], 1000).double()
    output, samples = ClassifierOutput(torch.zeros(100, 1), seen, names), data.items[:100]
    mixture = dataclasses.replace(data, modes=modes, mode_sd=0.01, labels=None, classes=())
    assert images.describe_collapse(samples, data, output=output) is None
    assert images.describe_collapse(samples[labels[:100] % 64 % 3 == 0].repeat(4, 1)[:100], mixture) is None
    assert "as wide as" in str(images.describe_collapse(samples * 0, data, output=output, asked=labels[:100]))
