"""Weights as other programs save them: found in a checkpoint, loaded by torch's own rules, or refused with what would fit."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType

import pytest
import torch

from tests.training.adopt import generators
from tests.training.adopt.conftest import Adopt

pytestmark = pytest.mark.slow

Z = ("--latent", "z=normal:12")


def saved(value: object, path: Path) -> tuple[str, ...]:
    """The options that name a file with this value."""
    torch.save(value, path)
    return ("--weights", str(path))


@pytest.mark.parametrize(
    ("wrap", "key"), [(lambda g: {"models": {"G": g}, "step": 3}, "models.G"), (lambda g: [{"lr": 1.0}, (g,)], "1.0")]
)
def test_weights_are_found_in_nested_containers(adopt: Adopt, tmp_path: Path, wrap: object, key: str) -> None:
    """The refusal names the place, a key with dots, by which the weights are then loaded."""
    assert callable(wrap)
    options = saved(wrap(generators.Dense().state_dict()), tmp_path / "g.pt")
    code, printed = adopt("generators:Dense", *Z, *options)
    assert (code, f"name one of its own by --key: {key}\n" in printed) == (2, True), printed
    code, printed = adopt("generators:Dense", *Z, *options, "--key", key)
    assert code == 0, printed


def test_the_tensors_of_an_optimiser_are_no_weights(adopt: Adopt, tmp_path: Path) -> None:
    """It has numbers as keys."""
    net = generators.Dense()
    optimiser = torch.optim.Adam(net.parameters())
    net(torch.zeros(1, 12)).sum().backward()
    optimiser.step()
    options = saved({"g": net.state_dict(), "optimiser": optimiser.state_dict()}, tmp_path / "g.pt")
    assert "by --key: g\n" in adopt("generators:Dense", *Z, *options)[1]


def test_a_value_that_holds_itself_is_searched_once(adopt: Adopt, tmp_path: Path) -> None:
    """The search ends."""
    value: list[object] = []
    value.append(value)
    assert "is no state dict; it holds none" in adopt("generators:Dense", *Z, *saved(value, tmp_path / "g.pt"))[1]


def test_all_prefixes_that_fit_are_named(adopt: Adopt, tmp_path: Path) -> None:
    """Those of weights of other shapes are not."""
    state = generators.Dense().state_dict()
    options = saved(
        {
            **{f"D.{name}": torch.zeros(3) for name in state},
            **{f"{prefix}.{name}": values for prefix in ("g", "g_ema") for name, values in state.items()},
        },
        tmp_path / "g.pt",
    )
    assert "is it --strip g. or --strip g_ema.?\n" in adopt("generators:Dense", *Z, *options)[1]


def test_weights_of_an_older_weight_norm_are_loaded(adopt: Adopt, tmp_path: Path) -> None:
    """Torch itself gives them their newer names."""
    old = {"first.bias": torch.zeros(12), "first.weight_g": torch.ones(12, 1), "first.weight_v": torch.eye(12)}
    code, printed = adopt("unusual:WeightNorm", *Z, *saved(old, tmp_path / "g.pt"))
    assert code == 0, printed


def test_weights_give_a_lazy_layer_its_size(adopt: Adopt, tmp_path: Path) -> None:
    """The function need not call the net then."""
    code, printed = adopt("unusual:Lazy", *Z, *saved(generators.Dense().state_dict(), tmp_path / "g.pt"))
    assert code == 0, printed


def test_a_file_of_safetensors_that_cannot_be_read_is_explained(
    adopt: Adopt, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The package is missing, or the file is damaged."""
    path = tmp_path / "g.safetensors"
    path.write_bytes(b"{}")
    monkeypatch.setitem(sys.modules, "safetensors", None)
    sentence = adopt("generators:Dense", *Z, "--weights", str(path))[1]
    assert f"{path} needs the package safetensors: install it, or save the weights by torch.save" in sentence
    package, reader = ModuleType("safetensors"), ModuleType("safetensors.torch")
    monkeypatch.setattr(package, "torch", reader, raising=False)
    monkeypatch.setattr(reader, "load_file", lambda *_, **__: b""[0], raising=False)
    monkeypatch.setitem(sys.modules, "safetensors", package)
    monkeypatch.setitem(sys.modules, "safetensors.torch", reader)
    sentence = adopt("generators:Dense", *Z, "--weights", str(path))[1]
    assert f"{path} is damaged, or no file of safetensors" in sentence
