"""The examination of a run's other nets, where its recipe has one: the errors of a classifier or of a code."""

from __future__ import annotations

import torch

from training.data import DataError, load
from training.errors import ScoreError
from training.files import MODEL, write_json
from training.game.step import Batch
from training.run.config import read_config
from training.run.context import JobContext
from training.run.directory import EXAMINATION
from training.run.job import open_run


def examine_run(context: JobContext, model_steps: int | None = None) -> dict[str, float] | None:
    """Run the recipe's examination of the newest checkpoint on the data's test part; print it, and write examination.json.

    Args:
        context: where the run is.
        model_steps: the step of the model that was scored just before; if the checkpoint is of another one, this is said.

    Returns:
        Numbers by name; None where the recipe examines nothing, or the data has no test part here, or none with labels.

    Raises:
        TrainingError: the run has no checkpoint.
    """
    if read_config(context.run).resolve().examine is None:
        return None
    game, data = open_run(context)
    recipe = game.recipe
    if model_steps is not None and model_steps != game.step:
        context.say(f"what follows is of the checkpoint of step {game.step:,}; {MODEL} is of step {model_steps:,}")
    try:
        test = load(recipe.data, split="test", size=recipe.size, environ=context.environ).to(context.device)
    except DataError as error:
        context.say(f"not examined: {error}")
        return None
    nets = {name: net.eval() for name, net in game.sampling_nets().items()}
    assert recipe.examine is not None
    with torch.no_grad():
        try:
            values = recipe.examine(nets, Batch(game.batches.scale(test.items), test.labels))
        except ScoreError as error:
            context.say(f"not examined: {error}")
            return None
    listed = ", ".join(f"{name} {value:g}" for name, value in values.items())
    context.say(f"on {len(test):,} test samples of {data.name}: {listed}")
    written = {"step": game.step, "data": data.name, "samples": len(test), "values": values}
    write_json(context.run / EXAMINATION, written)
    return values
