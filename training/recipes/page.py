"""The tables of docs/RECIPES.md, made from the catalogues of recipes and data sets."""

from __future__ import annotations

from training.data import CATALOGUE as DATA
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
    """The page with the text between its two markers replaced by the tables."""
    before, _, rest = page.partition(BEGIN)
    after = rest.partition(END)[2]
    return f"{before}{BEGIN}\n\n{tables()}\n\n{END}{after}"
