"""The training job: the one place that knows everyone. Data, game, records, checkpoints and the exported file."""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path

import torch
from torch.backends import cudnn

from contract import Card, draw
from training.data import DataError, DataSet, load
from training.errors import TrainingError
from training.export.sample_grid import make_sample_grid, sample, sampler_of, traversals
from training.export.samplers import output_of
from training.export.to_onnx import export, package_versions
from training.files import locked, remove_leftovers, write_json
from training.game.batches import Batches
from training.game.loop import Game, play
from training.game.recipe import Recipe
from training.game.step import Batch
from training.report import Progress, Recorder
from training.report.meters import COLLAPSE
from training.run import checkpoint
from training.run.collapse import SEEDS, CheckpointEvaluator, make_evaluator
from training.run.config import FILE, OLD_FILE, RunConfig, find_config, read_config, write_config
from training.run.context import JobContext

MODEL = "model.onnx"
EXAMINATION = "examination.json"


def train(config: RunConfig, setting: JobContext, *, is_fresh: bool = False) -> bool:
    """Play the plan's recipe to its end, from the newest checkpoint if the run directory holds one, and export.

    Args:
        plan: what to play.
        setting: where.
        is_fresh: throw away what the run directory holds.

    Returns:
        False when it was stopped before the end.

    Raises:
        TrainingError: the directory holds another plan's run, or a loss is not finite, or the export is not faithful.
        DataError: the data set is not to be had.
    """
    setting.run.mkdir(parents=True, exist_ok=True)
    with locked(setting.run), repeatable():
        if is_fresh:
            _forget(setting.run)
        _refuse_other_plan(config, setting.run)
        remove_leftovers(setting.run)
        game, data = _set_up(config, setting)
        write_config(setting.run, config, game.recipe, data, package_versions())
        _continue(game, setting)
        if not _play(game, data, setting):
            return False
        _export(game, data, setting)
        return True


def repeatable() -> AbstractContextManager[None]:
    """Hold cuDNN to algorithms that give the same bits each time; without it a resumed run differs from an unbroken one.

    On an H100, 32 of 71 recipes differed from their twins after five steps under torch's defaults, and none under this.
    """
    return cudnn.flags(enabled=True, benchmark=False, deterministic=True, allow_tf32=cudnn.allow_tf32)


def export_run(setting: JobContext) -> Path:
    """Export the newest checkpoint of a run again.

    Raises:
        TrainingError: the run has no checkpoint, or the export is not faithful.
    """
    game, data = open_run(setting)
    return _export(game, data, setting)


def open_run(setting: JobContext) -> tuple[Game, DataSet]:
    """The game as a run's newest checkpoint has it, and the data that it is played on.

    Raises:
        TrainingError: the run has no checkpoint, or one of other nets.
        DataError: the data set is not to be had.
    """
    game, data = _set_up(read_config(setting.run), setting)
    _continue(game, setting)
    if not game.step:
        raise TrainingError(f"{setting.run} has no checkpoint yet")
    return game, data


def examine_run(setting: JobContext) -> dict[str, float] | None:
    """What the recipe's examination of the newest checkpoint says on the data's test part, printed and in examination.json.

    Returns:
        The numbers by name; None where the recipe examines nothing, or the data has no labelled test part here.

    Raises:
        TrainingError: the run has no checkpoint.
    """
    game, data = open_run(setting)
    recipe = game.recipe
    if recipe.examine is None:
        return None
    try:
        test = load(recipe.data, split="test", size=recipe.size, environ=setting.environ).to(setting.device)
    except DataError as error:
        setting.console.print(f"not examined: {error}", markup=False, highlight=False)
        return None
    nets = {name: net.eval() for name, net in game.sampling_nets().items()}
    with torch.no_grad():
        values = recipe.examine(nets, Batch(game.batches.scale(test.items), test.labels))
    said = ", ".join(f"{name} {value:g}" for name, value in values.items())
    setting.console.print(f"on {len(test):,} test samples of {data.name}: {said}", markup=False, highlight=False)
    written = {"step": game.step, "data": data.name, "samples": len(test), "values": values}
    write_json(setting.run / EXAMINATION, written)
    return values


def _set_up(config: RunConfig, setting: JobContext) -> tuple[Game, DataSet]:
    recipe = config.resolve()
    data = load(recipe.data, size=recipe.size, environ=setting.environ)
    if recipe.is_conditional and not data.classes:
        raise TrainingError(f"the recipe {recipe.name} needs labelled data, and {data.name} has no classes")
    data = data.to(setting.device)
    batches = Batches(data, recipe.batch, seed=config.seed, pixels=recipe.pixels)
    return Game(recipe, recipe.latents(len(data.classes)), batches, seed=config.seed), data


def _continue(game: Game, setting: JobContext) -> None:
    state, passed_over = checkpoint.load_newest(setting.run, device=setting.device)
    for reason in passed_over:
        setting.console.print(f"passed over a damaged checkpoint: {reason}", style="bold yellow", markup=False)
    if state is None:
        return
    try:
        game.restore(state)
    except (RuntimeError, KeyError, ValueError) as error:
        raise TrainingError(f"the checkpoint in {setting.run} is of other nets: {error}") from None
    if game.step > game.recipe.steps:
        raise TrainingError(
            f"{setting.run} is at step {game.step} already, past {game.recipe.steps}; use --fresh to start over"
        )
    setting.console.print(f"going on from step {game.step} of {game.recipe.steps}")


def _play(game: Game, data: DataSet, setting: JobContext) -> bool:
    """To the last step; False when stopped before it."""
    look = make_evaluator(data, setting)
    points = None if data.is_image else data.items[:2000].cpu().numpy()
    recorder = Recorder(setting.run, from_step=game.step, backdrop=points, region=data.region, watch=setting.watch)
    title = f"{game.recipe.name} on {data.name} ({setting.device.type})"
    try:
        with Progress(game.recipe.steps, start=game.step, title=title, console=setting.console) as progress:
            return _play_recorded(game, data, setting, recorder, progress, look)
    finally:
        recorder.finish()


def _play_recorded(
    game: Game, data: DataSet, setting: JobContext, recorder: Recorder, progress: Progress, look: CheckpointEvaluator
) -> bool:
    steps = game.recipe.steps
    sampled_every, saved_every = max(1, steps // setting.grids), max(1, steps // setting.checkpoints)
    if game.step == 0:
        recorder.samples(0, make_sample_grid(game, data))
    for step in play(game, steps):
        is_last = step == steps
        is_saved = step % saved_every == 0 or is_last
        if is_saved:
            _look(look, game, data, progress)
        if step % game.recipe.log_every == 0 or is_last:
            scalars = game.record()
            recorder.log(step, game.images, scalars)
            progress.update(step, game.images, scalars)
        if step % sampled_every == 0 or is_last:
            recorder.samples(step, make_sample_grid(game, data))
        if is_saved:
            checkpoint.save(setting.run, game.state())
        if setting.is_stopped() and not is_last:
            checkpoint.save(setting.run, game.state())
            progress.say(f"stopped at step {step}; it goes on from there when it is started again")
            return False
    for name, images in traversals(game, data).items():
        recorder.picture(f"traversal-{name}", images)
    return True


def _look(look: CheckpointEvaluator, game: Game, data: DataSet, progress: Progress) -> None:
    samples = torch.from_numpy(sample(game, data, SEEDS))
    samples = samples.permute(0, 3, 1, 2).contiguous() if data.is_image else samples
    asked = torch.from_numpy(draw(game.latents, SEEDS)["y"]) if game.recipe.is_conditional else None
    sentence, scores = look(samples, asked)
    for name, value in {COLLAPSE: float(sentence is not None), **scores}.items():
        game.log(name, torch.tensor(value))
    if sentence:
        progress.say(f"step {game.step}: {sentence}")


def model_name(recipe: Recipe, data: DataSet) -> str:
    """What requests call the model."""
    return f"{recipe.name}-{data.name.replace(':', '-')}"


def _export(game: Game, data: DataSet, setting: JobContext) -> Path:
    path = setting.run / MODEL
    difference = export(sampler_of(game, data), card_of(game, data), path)
    size, off = path.stat().st_size, difference["float"]
    setting.console.print(f"exported {path}, {size:,} bytes; torch and onnxruntime differ by {off:.1g}", highlight=False)
    return path


def card_of(game: Game, data: DataSet) -> Card:
    """The card of what the game is now, without goldens."""
    return Card(
        name=model_name(game.recipe, data),
        recipe=game.recipe.name,
        paper=game.recipe.paper,
        latents=game.latents,
        output=output_of(data),
        classes=data.classes if "y" in game.recipe.conditions else (),
        data=data.name,
        data_licence=data.licence,
        steps=game.step,
        images=game.images,
        versions=package_versions(),
        runtime="",
    )


def _refuse_other_plan(config: RunConfig, run: Path) -> None:
    """A run directory belongs to one plan; only how long it is played may change."""
    if find_config(run) and (before := read_config(run)) != replace(config, steps=before.steps):
        raise TrainingError(f"{run} holds a run of another plan ({before}); use another --out, or --fresh to replace it")


def _forget(run: Path) -> None:
    for path in (*run.glob("checkpoint-*.pt"), run / FILE, run / OLD_FILE, run / MODEL, run / EXAMINATION):
        path.unlink(missing_ok=True)
