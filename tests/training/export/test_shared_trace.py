"""One trace for nets that differ in their weights only: the same graphs as by a trace of each."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from training.export import to_onnx
from training.export.shared_trace import SharedTrace

Z = {"z": torch.zeros(2, 3)}


class Net(nn.Module):
    """Two dense layers behind the exporter's positional inputs."""

    def __init__(self, seed: int, hidden: int = 4) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.body = nn.Sequential(nn.Linear(3, hidden), nn.ReLU(), nn.Linear(hidden, 2))

    def forward(self, *inputs: torch.Tensor) -> torch.Tensor:
        return self.body(inputs[0])


@pytest.fixture
def traces(monkeypatch: pytest.MonkeyPatch) -> list[nn.Module]:
    """The nets that were traced for real."""
    seen: list[nn.Module] = []
    trace = to_onnx.trace

    def noted(module: nn.Module, *how: object) -> object:
        seen.append(module)
        return trace(module, *how)  # type: ignore[arg-type]

    monkeypatch.setattr(to_onnx, "trace", noted)
    return seen


@pytest.mark.slow
def test_a_second_net_has_the_graph_of_its_own_trace(traces: list[nn.Module]) -> None:
    """Byte for byte, from one trace; a net with a layer of another width has no place in it and is traced."""
    first, second, wide = nets = [Net(0).eval(), Net(1).eval(), Net(0, hidden=5).eval()]
    tracer = SharedTrace()
    graphs = [tracer(net, Z, "points") for net in nets]
    assert traces == [first, wide]
    assert graphs[1].SerializeToString() == to_onnx.trace(second, Z, "points").SerializeToString()
    assert graphs[0].SerializeToString() != graphs[1].SerializeToString()
    assert [tuple(graph.graph.initializer[0].dims) for graph in graphs] == [(4, 3), (4, 3), (5, 3)]


@pytest.mark.slow
def test_a_graph_that_folded_a_weight_is_not_shared(traces: list[nn.Module]) -> None:
    """Where the exporter replaced a weight by what it computed of it, each net is traced."""

    class Scaled(Net):
        def forward(self, *inputs: torch.Tensor) -> torch.Tensor:
            return inputs[0] @ (2 * self.body[0].weight.detach()).T

    nets, tracer = [Scaled(seed).eval() for seed in (0, 1)], SharedTrace()
    graphs = [tracer(net, Z, "points").SerializeToString() for net in nets]
    assert traces == nets
    assert graphs[0] != graphs[1]
