"""What a run directory receives while its game is played: evaluations, records, sample grids, checkpoints."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import nullcontext, suppress
from types import TracebackType

import torch

from contract import draw
from training.data import DataSet
from training.errors import TrainingError
from training.export.sample_grid import make_sample_grid, sample_game, traversals
from training.game.loop import Game
from training.recipes import CATALOGUE
from training.report import Recorder
from training.report.meters import COLLAPSE
from training.run import checkpoint
from training.run.choice import BestKeeper
from training.run.collapse import SEEDS, CheckpointEvaluator, has_collapsed
from training.run.context import JobContext


class Keeper:
    """Keeps a run's directory: ``begin``, then ``keep`` after each step and ``end`` after the last.

    At its end as a context manager it draws the curves and the time-lapse of all that was kept. Where an error is under way
    already, it draws what can be drawn, and that error stays.
    """

    def __init__(
        self, game: Game, data: DataSet, context: JobContext, evaluate: CheckpointEvaluator, say: Callable[[str], None]
    ) -> None:
        """Args: ``say`` prints a warning."""
        self._game, self._data, self._context, self._evaluate, self._say = game, data, context, evaluate, say
        points = None if data.is_image else data.items[:2000].cpu().numpy()
        self._recorder = Recorder(
            context.run,
            from_step=game.step,
            from_images=game.images,
            backdrop=points,
            region=data.region,
            watch=context.watch,
        )
        steps = game.recipe.steps
        self._sampled_every = max(1, steps // context.grids)
        self._evaluated_every = max(1, steps // context.checkpoints)
        self._best = BestKeeper(context.run, steps, say)
        self._saved_s = time.monotonic()

    def begin(self) -> None:
        """Draw the samples of nets that have learned nothing yet."""
        if self._game.step == 0:
            self._recorder.samples(0, make_sample_grid(self._game, self._data))

    def is_due(self, step: int) -> bool:
        """Whether ``keep`` does something at that step without being asked to save."""
        every = (self._sampled_every, self._evaluated_every, self._game.recipe.log_every)
        return step == self._game.recipe.steps or any(step % period == 0 for period in every)

    def keep(self, *, is_saved: bool) -> Mapping[str, float]:
        """Do what is due at the game's step; ``is_saved`` saves a checkpoint that is not due. Returns the recorded scalars."""
        game, step = self._game, self._game.step
        is_last = step == game.recipe.steps
        is_evaluated = step % self._evaluated_every == 0 or is_last
        scalars: Mapping[str, float] = {}
        if is_saved or self.is_due(step):
            self._context.check()
            game.settle()
        if is_evaluated:
            self._look()
        if step % game.recipe.log_every == 0 or is_last:
            scalars = game.record()
            self._recorder.log(step, game.images, scalars)
        if step % self._sampled_every == 0 or is_last:
            self._recorder.samples(step, make_sample_grid(game, self._data))
        if is_evaluated:
            self._best.offer(game)
        # A resumed run repeats the steps since its checkpoint bit for bit: saving less often changes no result.
        is_due = is_evaluated and time.monotonic() - self._saved_s >= self._context.checkpoint_seconds
        if is_due or is_last or is_saved:
            self._recorder.sync()
            checkpoint.save(self._context.run, game.state(), keep=self._context.keep)
            self._saved_s = time.monotonic()
        return scalars

    def end(self) -> None:
        """Draw what is drawn of finished nets."""
        for name, images in traversals(self._game, self._data).items():
            self._recorder.picture(f"traversal-{name}", images)

    def __enter__(self) -> Keeper:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        with suppress(OSError, TrainingError) if error else nullcontext():
            self._context.check()
            self._recorder.finish()

    def _look(self) -> None:
        """Evaluate the samples; log the scores, and warn where they have lost their variety."""
        game = self._game
        samples = torch.from_numpy(sample_game(game, self._data, SEEDS))
        samples = samples.permute(0, 3, 1, 2).contiguous() if self._data.is_image else samples
        asked = torch.from_numpy(draw(game.latents, SEEDS)["y"]) if game.recipe.is_conditional else None
        sign, scores = self._evaluate(samples, asked)
        usual_steps = CATALOGUE[game.recipe.name].steps
        collapse = has_collapsed(sign, is_known=COLLAPSE in game.latest, progress=game.step / usual_steps)
        if collapse is not None:
            scores = {COLLAPSE: float(collapse), **scores}
        for name, value in scores.items():
            game.log_score(name, torch.tensor(value))
        if collapse:
            self._say(f"step {game.step}: {sign}")
