"""How long it takes to draw 100 values for each of 64 seeds: ``python benchmarks/contract/draw.py``."""

from __future__ import annotations

import argparse
import platform
import timeit

import numpy as np

from contract import Categorical, Latents, Normal, Uniform, draw

DECLARATIONS: dict[str, Latents] = {
    "normal(100)": {"z": Normal(100)},
    "uniform(100)": {"z": Uniform(100)},
    "normal(100) + categorical(10)": {"z": Normal(100), "y": Categorical(10)},
}


def main() -> None:
    argparse.ArgumentParser(description=__doc__).parse_args()
    print(f"NumPy {np.__version__}, Python {platform.python_version()}, {platform.machine()}; least of 7 runs, us a seed")
    for name, latents in DECLARATIONS.items():
        for count in (1, 64):
            seeds = list(range(count))
            runs = max(1, 6400 // count)
            best = min(timeit.repeat(lambda: draw(latents, seeds), number=runs, repeat=7)) / runs / count  # noqa: B023
            print(f"  {name:30} {count:3} seeds  {best * 1e6:6.2f}")


if __name__ == "__main__":
    main()
