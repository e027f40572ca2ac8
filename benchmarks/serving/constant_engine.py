"""The service with a shared engine whose inferences of any size take 1 ms and no processor: what its workers can do.

    python -m benchmarks.serving.scaling --constant-engine --model dcgan64 --cores 1,2

The rows are noise, the same ones for every batch, of the model's type and shape. It stands for a GPU that is never the limit.
"""

from __future__ import annotations

import os
import socket
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

import serving.process.engine
import serving.process.launcher
from serving.process.worker import Shared
from serving.settings import Settings

_run_engine = serving.process.engine.run_engine
SECONDS = 0.001


class ConstantSession:
    """Waits, and returns rows that are there already.

    Args:
        session: of the model, for its inputs and outputs.
        rows: the most that a run may ask for.
    """

    def __init__(self, session: Any, rows: np.ndarray) -> None:
        self._session = session
        self._rows = rows

    def run(self, output_names: list[str] | None, inputs: Any) -> list[np.ndarray]:
        """The first rows, as many as the inputs have."""
        time.sleep(SECONDS)
        return [self._rows[: len(next(iter(inputs.values())))]]

    def __getattr__(self, name: str) -> Any:
        return getattr(self._session, name)


def run_constant_engine(
    settings: Settings, metrics_directory: Path, shared: Shared, index: int, rendezvous: socket.socket
) -> None:
    """What ``run_engine`` does, with every loaded model's session replaced."""
    import serving.model.load  # not above: the launcher holds no onnxruntime

    make_loader = serving.model.load.model_loader

    def model_loader(settings: Settings) -> Callable[[Path], serving.model.load.Model]:
        load = make_loader(settings)

        def load_constant(path: Path) -> serving.model.load.Model:
            model = load(path)
            noise = np.random.default_rng(0).integers(0, 256, (settings.max_batch, *model.card.output.shape))
            session = ConstantSession(model.session, noise.astype(model.card.output.dtype))
            return replace(model, session=session, idle_session=None)

        return load_constant

    serving.model.load.model_loader = model_loader
    _run_engine(settings, metrics_directory, shared, index, rendezvous)


if __name__ == "__main__":
    serving.process.engine.run_engine = run_constant_engine
    sys.exit(serving.process.launcher.main(os.environ))
