"""The job of a rank other than 0: it takes configuration and state from rank 0, computes its part, and writes nothing."""

from __future__ import annotations

from training.game.loop import play
from training.run.context import JobContext
from training.run.job import repeatable, set_up
from training.run.ranks import share_config, share_state


def follow(context: JobContext) -> bool:
    """Train to the last step, along with rank 0; of the context only device, environment, ranks and signals are used.

    Returns:
        False when the run was stopped before the last step.

    Raises:
        TrainingError: the recipe's parts do not fit, a loss is not finite, or another rank has ended.
        DataError: the data set cannot be loaded.
    """
    with repeatable():
        game, data = set_up(share_config(None, context.ranks), context)
        share_state(game, data)
        for step in play(game, game.recipe.steps):
            is_stopped, _ = context.ranks.any(context.is_stopped(), context.is_save_requested())
            if step % game.recipe.log_every == 0:
                game.record()  # rank 0 writes the means; here they are forgotten, so that they take no memory
            if is_stopped and step < game.recipe.steps:
                return False
        return True
