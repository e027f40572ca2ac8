"""The training job: the one place that knows everyone. Data, game, records, checkpoints and the exported file."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console

from contract import Card, Latents, draw, parameters
from training import checkpoint
from training.alarm import Alarm, alarm_for
from training.batches import Batches
from training.data import DataSet, load
from training.errors import TrainingError
from training.export import export, package_versions
from training.game import Game, play
from training.plan import FILE, Plan, read_plan, write_plan
from training.recipe import Recipe
from training.report import Progress, Recorder
from training.samplers import Sampler, output_of, sampler_for

MODEL = "model.onnx"
SAMPLES = 64


@dataclass(frozen=True, kw_only=True)
class Setting:
    """Where a job runs, and who may stop it."""

    run: Path
    """The run directory; everything that comes out is written there."""
    device: torch.device
    """Where nets and data lie."""
    environ: Mapping[str, str]
    """``DATA_ROOT``, ``XDG_CACHE_HOME`` and ``HOME`` are looked at."""
    console: Console
    """What the person sees."""
    is_stopped: Callable[[], bool] = lambda: False
    """Asked after each step; True saves a checkpoint and ends the job."""


def train(plan: Plan, setting: Setting, *, is_fresh: bool = False) -> bool:
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
    with _lock(setting.run):
        if is_fresh:
            _forget(setting.run)
        _refuse_other_plan(plan, setting.run)
        checkpoint.remove_leftovers(setting.run)
        game, data = _set_up(plan, setting)
        write_plan(setting.run, plan, game.recipe, data, package_versions())
        _continue(game, setting)
        if not _play(game, data, setting):
            return False
        _export(game, data, setting)
        return True


def export_run(setting: Setting) -> Path:
    """Export the newest checkpoint of a run again.

    Raises:
        TrainingError: the run has no checkpoint, or the export is not faithful.
    """
    game, data = _set_up(read_plan(setting.run), setting)
    _continue(game, setting)
    if not game.step:
        raise TrainingError(f"{setting.run} has no checkpoint yet")
    return _export(game, data, setting)


def _set_up(plan: Plan, setting: Setting) -> tuple[Game, DataSet]:
    recipe = plan.resolve()
    data = load(recipe.data, size=recipe.size, environ=setting.environ)
    if recipe.is_conditional and not data.classes:
        raise TrainingError(f"the recipe {recipe.name} needs labelled data, and {data.name} has no classes")
    data = data.to(setting.device)
    batches = Batches(data, recipe.batch, seed=plan.seed, pixels=recipe.pixels)
    return Game(recipe, recipe.latents(len(data.classes)), batches, seed=plan.seed), data


def _continue(game: Game, setting: Setting) -> None:
    state, passed_over = checkpoint.load_newest(setting.run, device=setting.device)
    for reason in passed_over:
        setting.console.print(f"passed over a damaged checkpoint: {reason}", style="bold yellow", markup=False)
    if state is None:
        return
    try:
        game.restore(state)
    except (RuntimeError, KeyError, ValueError) as error:
        raise TrainingError(f"the checkpoint in {setting.run} is of other nets: {error}") from None
    setting.console.print(f"going on from step {game.step} of {game.recipe.steps}")


def _play(game: Game, data: DataSet, setting: Setting) -> bool:
    """To the last step; False when stopped before it."""
    recipe = game.recipe
    alarm = alarm_for(data, setting)
    points = None if data.is_image else data.items[:2000].cpu().numpy()
    recorder = Recorder(setting.run, from_step=game.step, backdrop=points, region=data.region)
    sampled_every, saved_every = max(1, recipe.steps // 40), max(1, recipe.steps // 10)
    if game.step == 0:
        recorder.samples(0, sample_sheet(game, data))
    title = f"{recipe.name} on {data.name} ({setting.device.type})"
    with Progress(recipe.steps, start=game.step, title=title, console=setting.console) as progress:
        for step in play(game, recipe.steps):
            is_last = step == recipe.steps
            if step % recipe.log_every == 0 or is_last:
                scalars = game.record()
                recorder.log(step, game.images, scalars)
                progress.update(step, game.images, scalars)
            if step % sampled_every == 0 or is_last:
                recorder.samples(step, sample_sheet(game, data))
            if step % saved_every == 0 or is_last:
                _check(alarm, game, data, progress)
                checkpoint.save(setting.run, game.state())
            if setting.is_stopped() and not is_last:
                checkpoint.save(setting.run, game.state())
                progress.say(f"stopped at step {step}; it goes on from there when it is started again")
                return False
    recorder.finish()
    return True


def _check(alarm: Alarm, game: Game, data: DataSet, progress: Progress) -> None:
    sentence = alarm(sample(game, data, range(1000)))
    if sentence:
        progress.say(f"step {game.step}: {sentence}")


def sampler_of(game: Game, data: DataSet) -> Sampler:
    """What would be exported now, sharing the game's weights, in their present mode."""
    inner = game.recipe.sampler(game.sampling_nets())
    return sampler_for(data, inner, tuple(game.latents), game.recipe.pixels)


def sample(game: Game, data: DataSet, seeds: range, given: list[dict[str, float]] | None = None) -> NDArray[np.generic]:
    """What the exported model would answer now for these seeds: uint8 [n,h,w,c] or float32 [n,k]."""
    drawn = draw(game.latents, list(seeds), given or ())
    sampler = sampler_of(game, data)
    modes = [(module, module.training) for module in sampler.modules()]
    with torch.no_grad():
        sampler.eval()
        made = sampler(*(torch.from_numpy(values).to(game.device) for values in drawn.values()))
        for module, mode in modes:
            module.training = mode
    answer: NDArray[np.generic] = made.cpu().numpy()
    return answer


def sample_sheet(game: Game, data: DataSet) -> NDArray[np.generic]:
    """Samples of fixed latents, for the eye: one column a class where there are classes, else 64, or 1,000 points."""
    if not data.is_image:
        return sample(game, data, range(1000))
    columns = len(data.classes) if "y" in parameters(game.latents) and len(data.classes) <= 16 else 0
    if not columns:
        return sample(game, data, range(SAMPLES))
    drawn = [sample(game, data, range(row, row + 1), [{"y": y}]) for row in range(columns) for y in range(columns)]
    return np.concatenate(drawn)


def model_name(recipe: Recipe, data: DataSet) -> str:
    """What requests call the model."""
    return f"{recipe.name}-{data.name.replace(':', '-')}"


def _export(game: Game, data: DataSet, setting: Setting) -> Path:
    path = setting.run / MODEL
    difference = export(sampler_of(game, data), card_of(game, data), path)
    size, off = path.stat().st_size, difference["float"]
    setting.console.print(f"exported {path}, {size:,} bytes; torch and onnxruntime differ by {off:.1g}", highlight=False)
    return path


def card_of(game: Game, data: DataSet) -> Card:
    """The card of what the game is now, without goldens."""
    latents: Latents = game.latents
    return Card(
        name=model_name(game.recipe, data),
        recipe=game.recipe.name,
        paper=game.recipe.paper,
        latents=latents,
        output=output_of(data),
        classes=data.classes if "y" in latents else (),
        data=data.name,
        data_licence=data.licence,
        steps=game.step,
        images=game.images,
        versions=package_versions(),
        runtime="",
    )


def _refuse_other_plan(plan: Plan, run: Path) -> None:
    if (run / FILE).exists() and (before := read_plan(run)) != plan:
        raise TrainingError(f"{run} holds a run of another plan ({before}); use another --out, or --fresh to replace it")


def _forget(run: Path) -> None:
    for path in (*run.glob("checkpoint-*.pt"), run / FILE, run / MODEL):
        path.unlink(missing_ok=True)


@contextmanager
def _lock(run: Path) -> Iterator[None]:
    """One job a run directory; the lock goes with the process, however it ends."""
    descriptor = os.open(run / "lock", os.O_CREAT | os.O_RDWR, 0o644)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError:
        raise TrainingError(f"another job is at work in {run}") from None
    finally:
        os.close(descriptor)
