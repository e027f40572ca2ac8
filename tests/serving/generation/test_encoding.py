"""Rows on their way to an encoder."""

from __future__ import annotations

import numpy as np

from serving.generation.encoding import kept_alone


def test_rows_that_wait_keep_no_others() -> None:
    """A part of a batch is copied, so that the batch can be let go; a whole batch is not."""
    batch = np.array([[2 * row, 2 * row + 1] for row in range(6)])
    part = kept_alone(batch[1:3])
    assert (part.base, part.tolist()) == (None, [[2, 3], [4, 5]])
    assert kept_alone(batch[:6]).base is batch
    assert kept_alone(batch) is batch
