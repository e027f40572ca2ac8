"""The tables of docs/RECIPES.md, made from the catalogues of recipes and data sets."""

from __future__ import annotations

from training.data import CATALOGUE as DATA
from training.errors import TrainingError
from training.recipes import CATALOGUE

BEGIN = "<!-- begin: written by `python -m training list --markdown docs/RECIPES.md` -->"
END = "<!-- end -->"


def tables() -> str:
    """Both catalogues as Markdown tables."""
    recipes = [f"| `{r.name}` | {r.summary} | `{r.data}` | {r.steps:,} | {r.paper} |" for r in CATALOGUE.values()]
    data = [f"| `{name}` | {entry.about} |" for name, entry in DATA.items()]
    return "\n".join(
        [
            *("## Catalogue", "", "| recipe | game | data | steps | after |", "|---|---|---|---|---|", *recipes, ""),
            *("## Data sets", "", "| data set | items |", "|---|---|", *data),
        ]
    )


def fill(page: str) -> str:
    """The page with the text between its two markers replaced by the tables, in the page's own line ends.

    Raises:
        TrainingError: the page does not have both markers once and in this order.
    """
    if (page.count(BEGIN), page.count(END)) != (1, 1) or page.index(END) < page.index(BEGIN):
        raise TrainingError(f"the page must have the line {BEGIN} once, and {END} once behind it")
    before, rest = page.split(BEGIN)
    written = f"{BEGIN}\n\n{tables()}\n\n{END}"
    return before + (written.replace("\n", "\r\n") if "\r\n" in page else written) + rest.split(END)[1]
