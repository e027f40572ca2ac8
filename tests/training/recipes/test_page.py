"""The page that `list --markdown` fills."""

from __future__ import annotations

import pytest

from training.errors import TrainingError
from training.recipes.page import BEGIN, END, fill, tables


@pytest.mark.parametrize(
    "page",
    ["mine", f"a\n{BEGIN}\nb", f"a\n{END}\nb", f"{END}\n{BEGIN}\nb", f"{BEGIN}\n{BEGIN}\n{END}", f"{BEGIN}\n{END}\nb\n{END}"],
    ids=["neither", "no end", "no begin", "reversed", "two begins", "two ends"],
)
def test_a_page_without_both_markers_is_refused(page: str) -> None:
    """Text behind a missing marker was deleted, and a page without markers got tables at its end."""
    with pytest.raises(TrainingError, match="the page must have the line <!-- begin"):
        fill(page)


@pytest.mark.parametrize("end", ["\n", "\r\n"], ids=["LF", "CRLF"])
def test_the_text_around_the_tables_stays(end: str) -> None:
    """What stands before and behind the markers is as before, and the tables have the page's line ends."""
    filled = fill(f"before{end}{BEGIN}{end}old{end}{END}{end}behind{end}")
    assert filled == end.join(["before", BEGIN, "", *tables().split("\n"), "", END, "behind", ""])
    assert fill(filled) == filled
