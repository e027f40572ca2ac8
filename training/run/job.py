"""The training job, which connects data, game, records, checkpoints and the exported file."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path

from torch.backends import cudnn

from contract import Card
from training.data import DataSet, MissingPart, load
from training.errors import ExportError, RecipeError, TrainingError, is_out_of_memory
from training.export.explain import explain
from training.export.sample_grid import picture_of
from training.export.samplers import output_of
from training.export.to_onnx import Tracer, export, package_versions
from training.files import MODEL as MODEL
from training.files import find_config, remove_leftovers
from training.game.check import check_shapes
from training.game.loop import Game, play
from training.game.precision import resolve_precision
from training.game.recipe import Variant
from training.recipes import CATALOGUE
from training.report import Progress
from training.run import checkpoint
from training.run.choice import choose, require_best, require_kid, restore
from training.run.collapse import make_evaluator
from training.run.config import RunConfig, read_config, write_config
from training.run.context import JobContext
from training.run.directory import compare_data, compare_recipe, forget, opened, refuse_other_config
from training.run.keeping import Keeper
from training.run.ranks import count_ranks, share_config, share_state
from training.run.variants import model_name, model_of, variant_of
from training.threads import BusyCores


def train(config: RunConfig, context: JobContext, *, is_fresh: bool = False) -> bool:
    """Train a recipe to its last step, from the newest checkpoint if the run directory holds one, and export.

    Args:
        config: configuration of the run.
        context: where it runs.
        is_fresh: delete the run that the directory holds.

    Returns:
        False when it was stopped before the last step.

    Raises:
        TrainingError: the directory holds a run of another configuration, the recipe's parts do not fit, a loss is not
            finite, or the exported file differs from the nets.
        DataError: the data set cannot be loaded.
    """
    with opened(context.run) as check, repeatable():
        context = replace(context, check=check)
        config, game, data = look(config, context, is_fresh=is_fresh)
        enter(config, game, data, context, is_fresh=is_fresh)
        if not _play(game, data, context):
            return False
        export_game(game, data, context)
        return True


def look(
    config: RunConfig, context: JobContext, *, is_fresh: bool = False, data: DataSet | None = None
) -> tuple[RunConfig, Game, DataSet]:
    """The configuration with its precision decided, the game, and its data; nothing of the run is written or deleted.

    Args:
        config: configuration of the run.
        context: where it runs.
        is_fresh: begin at the first step, even where the directory holds checkpoints.
        data: the recipe's data where they are loaded already.

    Raises:
        TrainingError: the directory holds a run of another configuration, or the recipe's parts do not fit.
        DataError: the data set cannot be loaded.
    """
    config = _with_precision(config, context, is_fresh=is_fresh)
    if not is_fresh:
        refuse_other_config(config, context.run)
    remove_leftovers(context.run)
    game, data = set_up(share_config(config, context.ranks), context, data)
    if not is_fresh and _restore(game, data, context):
        compare_recipe(context.run, game.recipe, context.say)
        context.console.print(f"going on from step {game.step} of {game.recipe.steps}")
    else:
        _check_shapes(game)
    return config, game, data


def enter(
    config: RunConfig,
    game: Game,
    data: DataSet,
    context: JobContext,
    *,
    is_fresh: bool = False,
    together: Sequence[int] = (),
) -> None:
    """Write the run's configuration into its directory; ``is_fresh`` deletes the run that was there before.

    ``together`` are the seeds of the games that it is played with.
    """
    if is_fresh:
        forget(context.run)
    ranks = count_ranks(game, context)
    write_config(context.run, config, game.recipe, data, package_versions(), ranks=ranks, together=together)
    share_state(game, data)


def repeatable() -> AbstractContextManager[None]:
    """Hold cuDNN to algorithms that give the same bits each time; without it a resumed run differs from an unbroken one.

    On an H100, 32 of 71 recipes differed from their twins after five steps under torch's defaults, and none under this.
    """
    return cudnn.flags(enabled=True, benchmark=False, deterministic=True, allow_tf32=cudnn.allow_tf32)


def export_run(context: JobContext, variant: str | None = None, asked: str | None = None) -> Path:
    """Export a run again, as its own model or as a variant of its recipe.

    Args:
        context: where the run is.
        variant: name of the variant.
        asked: ``best`` or ``last``; None as the run was started.

    Raises:
        TrainingError: the run has no such checkpoint, or its recipe no such variant; ExportError: as ``export_game``.
    """
    game, data = open_run(context, asked)
    require_best(asked, context.run)
    other = None if variant is None else variant_of(game.recipe, variant)
    context.console.print(f"opened the checkpoint of step {game.step}")
    return export_game(game, data, context, other)


def open_run(context: JobContext, asked: str | None = None) -> tuple[Game, DataSet]:
    """The game of a run's newest checkpoint, and its data; ``asked`` replaces what the run was started to export.

    Raises:
        TrainingError: the run has no checkpoint, or one of other nets.
        DataError: the data set cannot be loaded.
    """
    config = read_config(context.run)
    game, data = set_up(replace(config, export=asked or config.export), context)
    if not _restore(game, data, context):
        raise TrainingError(f"{context.run} has no checkpoint yet")
    return game, data


def unseen(game: Game, data: DataSet, context: JobContext) -> tuple[DataSet, str]:
    """The test part, or, where there is none, ``data``, the training part; and its name.

    Raises:
        DataError: the test part is there and damaged.
    """
    recipe = game.recipe
    try:
        return load(recipe.data, split="test", size=recipe.size, environ=context.environ).to(context.device), "test"
    except MissingPart:
        return data, "training"


def set_up(config: RunConfig, context: JobContext, data: DataSet | None = None) -> tuple[Game, DataSet]:
    """The game at its first step, and its data.

    Raises:
        TrainingError: the recipe and the data do not fit.
        DataError: the data set cannot be loaded.
    """
    recipe = config.resolve()
    data = data or load(recipe.data, size=recipe.size, environ=context.environ, say=context.say)
    recipe = recipe.for_data(bool(data.classes))
    require_kid(config.export, data)
    if recipe.is_conditional and not data.classes:
        raise TrainingError(f"the recipe {recipe.name} needs labelled data, and {data.name} has no classes")
    data = data.to(context.device)
    precision = resolve_precision(config.precision, recipe, context.device)
    return Game(recipe, data, seed=config.seed, precision=precision, ranks=context.ranks), data


def _check_shapes(game: Game) -> None:
    """Check that the recipe's parts fit together and the data; on data of another kind the mistake is in the command."""
    known = CATALOGUE.get(game.recipe.name)
    try:
        check_shapes(game.recipe, game.nets, game.latents, game.batches)
    except RecipeError as error:
        if known is None or known.data == game.recipe.data:
            raise
        raise TrainingError(f"{error}; the recipe is made for {known.data}, and {game.recipe.data} may not suit it") from None


def _restore(game: Game, data: DataSet, context: JobContext) -> bool:
    """Load the newest whole checkpoint of a run on such data; False where there is none."""
    compare_data(context.run, data, context.say)
    state, damaged = checkpoint.load_newest(context.run, device=context.device)
    for reason in damaged:
        context.console.print(f"skipped a damaged checkpoint: {reason}", style="bold yellow", markup=False)
    if state is None:
        return False
    restore(game, state, context.run)
    if game.step > game.recipe.steps:
        raise TrainingError(
            f"{context.run} is at step {game.step} already, past {game.recipe.steps}; use train with --fresh to start over"
        )
    return True


def _play(game: Game, data: DataSet, context: JobContext) -> bool:
    """Train to the last step; False when stopped before it."""
    ranks = f", {game.ranks.size} ranks" if game.ranks.size > 1 else ""
    title = f"{game.recipe.name} on {data.name} ({context.device.type}{ranks})"
    evaluate = make_evaluator(data, context)
    with Progress(game.recipe.steps, start=game.step, title=title, console=context.console) as progress:
        started_s = time.monotonic()
        with Keeper(game, data, context, evaluate, progress.say) as keeper:
            try:
                return _play_kept(game, keeper, context, progress)
            finally:
                if data.prefetch:
                    waited_s, took_s = game.batches.seconds, time.monotonic() - started_s
                    progress.say(f"the nets waited for pictures for {waited_s:.1f} of {took_s:.1f} s, {waited_s / took_s:.1%}")


def _play_kept(game: Game, keeper: Keeper, context: JobContext, progress: Progress) -> bool:
    keeper.begin()
    cores = BusyCores(context.device)
    for step in play(game, game.recipe.steps):
        is_stopped, is_asked = game.ranks.any(context.is_stopped(), context.is_save_requested())
        if scalars := keeper.keep(is_saved=is_stopped or is_asked):
            progress.update(step, game.images, scalars)
            for warning in (*game.ranks.warnings(), *game.graphs.refusals(), *cores.warnings()):
                progress.say(f"step {step}: {warning}")
        if is_stopped and step < game.recipe.steps:
            progress.say(f"stopped at step {step}; it goes on from there when it is started again")
            return False
    keeper.end()
    return True


def export_game(
    game: Game, data: DataSet, context: JobContext, variant: Variant | None = None, tracer: Tracer | None = None
) -> Path:
    """Write the generator that the recipe exports into the run directory, or a variant of it next to that.

    Afterwards the game is at the exported step. ``tracer`` makes the graph, see ``export``.

    Raises:
        TrainingError: the checkpoint of the lowest KID is damaged.
        ExportError: the generator cannot be exported, or the exported file differs from the nets.
    """
    chosen = choose(game, context)
    sampler, card, name = model_of(game, data, replace(card_of(game, data), chosen=chosen), variant)
    path = context.run / name
    context.check()
    try:
        off = export(sampler, card, path, tracer=tracer)["float"]
    except (TrainingError, OSError):
        raise
    except Exception as error:  # the exporter raises errors of many kinds
        if is_out_of_memory(error):
            raise
        raise ExportError(explain(error)) from error
    said = f"exported {path}, {path.stat().st_size:,} bytes; torch and onnxruntime differ by {off:.1g}"
    context.say(said)
    return path


def card_of(game: Game, data: DataSet) -> Card:
    """The card of the game's present state, without goldens."""
    return Card(
        name=model_name(game.recipe.name, data),
        recipe=game.recipe.name,
        paper=game.recipe.paper,
        latents=game.latents,
        picture=picture_of(game.recipe, data),
        output=output_of(data),
        classes=data.classes if game.recipe.is_conditional else (),
        data=data.name,
        data_licence=data.licence,
        steps=game.step,
        images=game.images,
        precision=game.precision,
        versions=package_versions(),
        runtime="",
    )


def _with_precision(config: RunConfig, context: JobContext, *, is_fresh: bool) -> RunConfig:
    """The configuration with its precision decided: by the run that goes on, else by recipe and hardware."""
    if config.precision != "auto":
        return config
    if find_config(context.run) and not is_fresh:
        return replace(config, precision=read_config(context.run).precision)
    return replace(config, precision=resolve_precision("auto", config.resolve(), context.device))
