"""Errors that say that there is not enough memory, as torch's, NumPy's and onnxruntime's allocators word them."""

from __future__ import annotations

from training.errors import is_out_of_memory

WORDS = ("Failed to allocate memory", "bad_alloc", "bad allocation")
"""onnxruntime's."""


def lacks_memory(error: BaseException | None) -> bool:
    """Whether an error, or one that it was raised from, says that there is no memory."""
    while error is not None:
        if is_out_of_memory(error) or any(word in str(error) for word in WORDS):
            return True
        error = error.__cause__ or error.__context__
    return False
