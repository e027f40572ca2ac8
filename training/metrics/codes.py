"""What a discriminator's further answers are worth on real test images: codes matched to classes, and plain errors."""

from __future__ import annotations

import scipy
import torch
from torch import Tensor

from training.errors import ScoreError
from training.game.step import Batch


def code_error(codes: Tensor, labels: Tensor) -> float:
    """Share of items whose code's class is not their label, under the one-to-one matching of codes to classes that is best.

    InfoGAN's measure (arXiv:1606.03657, section 7.2): its categorical code as a classifier that never saw a label. The matching
    is the Hungarian one, on the same items.

    Args:
        codes: the likeliest code of each item, int64 [N], or Q's logits, float [N,K].
        labels: int64 [N].

    Raises:
        ScoreError: the counts differ, or there are none.
    """
    codes = codes.argmax(1) if codes.ndim == 2 else codes
    _check(codes, labels)
    codes, labels = codes.cpu(), labels.cpu()
    shown = torch.full((int(codes.max()) + 1,), -1)
    for code, label in match_codes(codes, labels).items():
        shown[code] = label
    return int((shown[codes] != labels).sum()) / len(labels)


def labels_of(test: Batch) -> Tensor:
    """The labels of test samples, int64 [N].

    Raises:
        ScoreError: there are none.
    """
    if test.y is None:
        raise ScoreError("the test samples have no labels")
    return test.y


def match_codes(codes: Tensor, labels: Tensor) -> dict[int, int]:
    """Code to label, one to one, right as often as can be (the Hungarian method); both int64 [N]."""
    table = torch.zeros(int(codes.max()) + 1, int(labels.max()) + 1, dtype=torch.int64)
    table.index_put_((codes.cpu(), labels.cpu()), torch.ones(len(codes), dtype=torch.int64), accumulate=True)
    rows, columns = scipy.optimize.linear_sum_assignment(table.numpy(), maximize=True)
    return dict(zip(rows.tolist(), columns.tolist(), strict=True))


def count_errors(logits: Tensor, labels: Tensor) -> int:
    """How many items the likeliest class of logits [N,K] is not the label of, int64 [N]: errors out of 10,000 on MNIST's test.

    Raises:
        ScoreError: the counts differ, or there are none.
    """
    _check(logits, labels)
    return int((logits.argmax(1).cpu() != labels.cpu()).sum())


def _check(answers: Tensor, labels: Tensor) -> None:
    if len(answers) != len(labels) or not len(labels):
        raise ScoreError(f"as many answers as labels are needed, and at least one, got {len(answers)} and {len(labels)}")
