"""Training in bfloat16: what is computed in it, what stays float32, and who decides."""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from serving.model.load import load_model
from tests.training.conftest import tiny_config, tiny_context
from training.data import load
from training.errors import TrainingError
from training.game import precision
from training.game.loop import Game, play
from training.game.precision import (
    InBfloat16,
    has_bfloat16,
    is_bfloat16_faster,
    measured_gain,
    resolve_precision,
    to_float32,
)
from training.game.step import DiscriminatorOutput
from training.recipes import CATALOGUE
from training.run.config import read_config
from training.run.job import train

CPU = torch.device("cpu")


class Recording(nn.Module):
    """A linear layer that keeps the type in which it answers."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(4, 1)
        self.seen: list[torch.dtype] = []

    def forward(self, x: Tensor) -> DiscriminatorOutput:
        y = self.linear(x)
        self.seen.append(y.dtype)
        return DiscriminatorOutput(y.squeeze(1), y, {"code": y})


def test_a_net_computes_in_bfloat16_and_answers_in_float32() -> None:
    """Its weights stay float32, and so do logit, features and heads."""
    net = Recording()
    output = InBfloat16(net, CPU)(torch.randn(3, 4))
    assert net.seen == [torch.bfloat16]
    assert {t.dtype for t in (output.logit, output.features, output.heads["code"])} == {torch.float32}
    assert {p.dtype for p in net.parameters()} == {torch.float32}


def test_a_step_of_the_optimiser_is_seen_by_the_next_call() -> None:
    """Autocast keeps no cast of an old weight."""
    net = nn.Linear(1, 1, bias=False)
    wrapped, x = InBfloat16(net, CPU), torch.ones(1, 1)
    with torch.autocast("cpu", torch.bfloat16):  # an outer context with a cache, as a caller might have
        nn.init.constant_(net.weight, 1.0)
        assert wrapped(x).item() == 1.0
        nn.init.constant_(net.weight, 2.0)
        assert wrapped(x).item() == 2.0


def test_tuples_and_integers_pass() -> None:
    """Every bfloat16 tensor becomes float32; others stay."""
    half, whole = to_float32((torch.ones(1, dtype=torch.bfloat16), torch.ones(1, dtype=torch.int64)))
    assert (half.dtype, whole.dtype) == (torch.float32, torch.int64)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["cdcgan_r1", "vaegan_small", "salimans_small"])
def test_a_game_in_bfloat16_continues_bit_for_bit(name: str) -> None:
    """Two steps, a state, two more steps end where four steps end; with penalties, three nets and weight normalisation."""
    recipe = replace(CATALOGUE[name], batch=20, data="mnist5k")
    data = load("mnist5k", environ={})

    def game() -> Game:
        return Game(recipe, data, seed=0, precision="bfloat16")

    whole, first, second = game(), game(), game()
    list(play(whole, 4))
    list(play(first, 2))
    second.restore(copy.deepcopy(first.state()))
    list(play(second, 4))
    for role, net in whole.nets.items():
        assert all(torch.equal(value, second.nets[role].state_dict()[key]) for key, value in net.state_dict().items())
        assert {value.dtype for value in net.state_dict().values()} <= {torch.float32, torch.int64}


@pytest.mark.parametrize(
    ("asked", "bfloat16", "is_faster", "expected"),
    [
        ("auto", "equal", True, "bfloat16"),
        ("auto", "equal", False, "float32"),
        ("auto", "untested", True, "float32"),
        ("bfloat16", "untested", False, "bfloat16"),
        ("float32", "equal", True, "float32"),
    ],
)
def test_auto_needs_a_gain_and_proof(asked: str, bfloat16: str, is_faster: bool, expected: str) -> None:
    """bfloat16 by itself only where it is faster and the recipe was shown to lose nothing; else nothing is measured."""
    recipe = replace(CATALOGUE["vanilla"], bfloat16=bfloat16)  # type: ignore[arg-type]
    asked_for: list[torch.device] = []

    def measure(device: torch.device) -> bool:
        asked_for.append(device)
        return is_faster

    assert resolve_precision(asked, recipe, CPU, measure) == expected
    assert asked_for == ([CPU] if (asked, bfloat16) == ("auto", "equal") else [])


@pytest.mark.parametrize(
    ("flags", "gain", "expected"),
    [("avx512_bf16", 2.0, True), ("avx512_bf16", 0.55, False), ("amx_bf16", 1.1, False), ("avx2", None, False)],
)
def test_a_processor_is_measured_where_it_has_bfloat16(
    flags: str, gain: float | None, expected: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The instructions alone do not decide; without them nothing is measured; a process measures once."""
    cpuinfo, measured = tmp_path / "cpuinfo", []
    cpuinfo.write_text(f"flags : fpu {flags}\n")
    has_flag = has_bfloat16(cpuinfo)

    def measure(device: torch.device) -> float | None:
        measured.append(device)
        return gain

    monkeypatch.setattr(precision, "has_bfloat16", lambda: has_flag)
    monkeypatch.setattr(precision, "measured_gain", measure)
    is_bfloat16_faster.cache_clear()
    assert [is_bfloat16_faster(CPU) for _ in range(2)] == [expected, expected]
    assert len(measured) == int(gain is not None)
    is_bfloat16_faster.cache_clear()


def test_the_gain_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of clocks that show bfloat16 to take half of the time, it is 2."""
    monkeypatch.setattr(precision, "_time_s", lambda net, x: 1.0 if isinstance(net, InBfloat16) else 2.0)
    assert measured_gain(CPU) == 2.0


def test_a_recipe_may_forbid_it() -> None:
    """Asked for by name it is refused with the recipe's name."""
    recipe = replace(CATALOGUE["vanilla"], bfloat16="forbidden")
    with pytest.raises(TrainingError, match="the recipe vanilla needs --precision float32"):
        resolve_precision("bfloat16", recipe, CPU)


def test_without_a_description_there_is_no_bfloat16(tmp_path: Path) -> None:
    """Another operating system has no /proc/cpuinfo."""
    assert not has_bfloat16(tmp_path / "none")


@pytest.mark.slow
def test_a_run_keeps_the_precision_it_began_with(tmp_path: Path) -> None:
    """The run's record and its card name it, and `auto` continues with it on any hardware."""
    asked = replace(tiny_config("toy1d", tmp_path, steps=2), precision="bfloat16")
    assert train(asked, tiny_context(tmp_path / "run"))
    assert read_config(tmp_path / "run").precision == "bfloat16"
    assert load_model(tmp_path / "run" / "model.onnx", "cpu").card.precision == "bfloat16"
    assert train(replace(asked, precision="auto", steps=3), tiny_context(tmp_path / "run"))
    with pytest.raises(TrainingError, match="holds another run"):
        train(replace(asked, precision="float32", steps=4), tiny_context(tmp_path / "run"))


def test_on_a_gpu_nothing_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    """No recipe was trained in bfloat16 there, so `auto` stays float32."""
    monkeypatch.setattr(precision, "measured_gain", lambda device: 9.0)
    monkeypatch.setattr(precision, "has_bfloat16", lambda: True)
    is_bfloat16_faster.cache_clear()
    assert is_bfloat16_faster(CPU)
    assert not is_bfloat16_faster(torch.device("cuda"))
    is_bfloat16_faster.cache_clear()
