"""PPGN's sampler against automatic differentiation."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
import torch
from torch import Tensor, nn

from training.export.runtime import open_session
from training.export.to_onnx import trace
from training.nets.plug_and_play import GRID, HIGHEST, FeatureClassifier, FeatureGenerator, PlugAndPlay

SHAPE, FEATURES, CLASSES, COUNT = (1, 4, 4), 6, 3, 5
Nets = tuple[FeatureGenerator, FeatureClassifier, FeatureClassifier]


@pytest.fixture
def nets() -> Nets:
    """A generator, the classifier whose features it takes, and another classifier."""
    torch.manual_seed(0)
    c, other = (FeatureClassifier(SHAPE, classes, hidden=9, features=FEATURES) for classes in (CLASSES, 2))
    return FeatureGenerator(FEATURES, [7, 8], SHAPE).double(), c.double(), other.double()


@pytest.mark.parametrize("other", [0, 1])
def test_the_gradient_written_out_is_that_of_autograd(nets: Nets, other: int) -> None:
    """d log C(y | G(h)) / dh, through the sigmoid, the rectified layers and the softmax, by either classifier."""
    g, encoder, c = nets[0], nets[1], nets[1:][other]
    h = torch.randn(COUNT, FEATURES, dtype=torch.float64, requires_grad=True)
    y = torch.tensor([0, 1, 1, 0, 1])
    likelihood = c(g(h)).log_softmax(1)[torch.arange(COUNT), y].sum()
    (expected,) = torch.autograd.grad(likelihood, h)
    sampler = PlugAndPlay(g, encoder, c, rates=[1.0], prior=0.0)
    assert torch.allclose(sampler.direction(h, y), expected)
    assert expected.abs().min(1).values.sum() > 0


@pytest.mark.parametrize("other", [0, 1])
def test_the_prior_pulls_features_to_those_of_their_image(nets: Nets, other: int) -> None:
    """epsilon 1 times R(h) - h, R by the features that G takes, of either classifier's direction."""
    h, y = torch.randn(COUNT, FEATURES, dtype=torch.float64), torch.zeros(COUNT, dtype=torch.int64)
    sampler = PlugAndPlay(nets[0], nets[1], nets[1:][other], rates=[1.0], prior=0.5, condition=0.0)
    assert torch.allclose(sampler.direction(h, y), 0.5 * (nets[1].encode(nets[0](h))[-1] - h))


def test_steps_have_their_rate_as_mean_length_and_stay_within_bounds(nets: Nets) -> None:
    """h + rate d / mean |d|, clipped to 0..30 and rounded to the grid."""
    g, c, _ = nets
    h, y = torch.rand(COUNT, FEATURES, dtype=torch.float64), torch.ones(COUNT, dtype=torch.int64)
    sampler = PlugAndPlay(g, c, c, rates=[1.0, 0.75, 0.5], prior=0.2)
    expected = h
    for rate in (1.0, 0.75, 0.5):
        d = sampler.direction(expected, y)
        expected = (expected + rate * d / d.abs().mean(1, keepdim=True)).clamp(0.0, HIGHEST)
        expected = (expected * GRID).round() / GRID
    assert torch.equal(sampler(h, y), g(expected).float())


class Graph(nn.Module):
    """A sampler with the inputs of a graph."""

    def __init__(self, sampler: nn.Module) -> None:
        super().__init__()
        self.sampler = sampler

    def forward(self, *inputs: Tensor) -> Tensor:
        return torch.as_tensor(self.sampler(*inputs))


@pytest.mark.slow
def test_the_graph_gives_a_row_the_same_bytes_in_every_batch(nets: Nets) -> None:
    """Six large steps of float32 weights: alone, in batches and with two threads, and close to torch."""
    sampler = PlugAndPlay(*(net.float() for net in nets), rates=[1.0] * 6, prior=0.1)  # type: ignore[arg-type]
    h, y = torch.randn(32, FEATURES), torch.arange(32) % 2
    graph = trace(Graph(sampler.eval()), {"h": h[:2], "y": y[:2]}, "levels").SerializeToString()
    whole = open_session(graph).run(None, {"h": h.numpy(), "y": y.numpy()})[0]
    for rows, threads in ((1, 1), (3, 1), (32, 2)):
        session = open_session(graph, threads)
        parts = [session.run(None, {"h": h.numpy()[i : i + rows], "y": y.numpy()[i : i + rows]})[0] for i in range(0, 32, rows)]
        assert np.concatenate(parts).tobytes() == whole.tobytes()
    assert np.abs(sampler(h, y).detach().numpy() - whole).max() < 1e-6


@pytest.mark.slow
def test_the_graph_has_the_factors_of_the_chain(nets: Nets) -> None:
    """The exporter writes them with single precision: .3 was .30000001 in the file, and features were rounded apart."""
    sampler = PlugAndPlay(*(net.float() for net in nets), rates=[0.3, 0.1], prior=0.01)  # type: ignore[arg-type]
    model = trace(Graph(sampler.eval()), {"h": torch.zeros(2, FEATURES), "y": torch.zeros(2, dtype=torch.int64)}, "levels")
    scalars = {onnx.numpy_helper.to_array(tensor).item() for tensor in model.graph.initializer if not tensor.dims}
    assert {*sampler.rates, sampler.prior} <= scalars
