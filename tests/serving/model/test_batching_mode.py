"""How a model is run so that no row depends on its neighbours, on the size of its batch, or on the number of threads."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from contract import Image
from serving.errors import ModelError
from serving.model.determinism import BatchingMode, agrees, find_batching_mode
from serving.model.load import model_from_bytes
from serving.model.runtime import Session
from tests.serving import tiny_onnx
from tests.serving.sessions import CountingSession


class NoisySession(CountingSession):
    """A session whose rows depend on their place in batches of some sizes, as a GPU's may."""

    def __init__(self, inner: Session, steady: Callable[[int], bool]) -> None:
        super().__init__(inner)
        self._steady = steady

    def run(self, output_names: list[str] | None, input_feed: Any, /) -> Any:
        rows = super().run(output_names, input_feed)[0]
        return [rows if self._steady(len(rows)) else rows + np.arange(1, len(rows) + 1, dtype=np.uint8).reshape(-1, 1, 1, 1)]


PLANS = [(lambda n: True, "any"), (lambda n: n == 64, "padded"), (lambda n: n == 1, "single")]


@pytest.mark.parametrize(("steady", "name"), PLANS)
def test_a_model_that_heeds_its_neighbours_is_run_so_that_it_does_not(steady: Callable[[int], bool], name: str) -> None:
    """Where rows change with the batch, batches are padded to one size, and where that fails rows run one by one."""
    loaded = model_from_bytes(tiny_onnx.grey(), "cpu")
    noisy = NoisySession(loaded.session, steady)
    batching = find_batching_mode(noisy, loaded.card, 64)
    seeds = list(range(70))
    kept = replace(loaded, session=noisy, batching=batching)
    assert batching.name == name
    assert kept.sample(seeds).tobytes() == b"".join(kept.sample([seed]).tobytes() for seed in seeds)


@pytest.mark.parametrize(
    ("steady", "name"), [(lambda n: True, "any"), (lambda n: n > 1, "paired"), (lambda n: n == 64, "padded")]
)
def test_floats_that_differ_before_they_are_rounded_decide(steady: Callable[[int], bool], name: str) -> None:
    """The pixels of the probe seeds are equal, but another seed's may round otherwise: two rows at least, or a fixed size."""
    loaded = model_from_bytes(tiny_onnx.grey(), "cpu")
    floats = NoisySession(loaded.session, steady)
    batching = find_batching_mode(loaded.session, loaded.card, 64, unrounded=floats)
    assert batching.name == name
    counting = CountingSession(loaded.session)
    kept = replace(loaded, session=counting, batching=batching)
    assert kept.sample([7]).tobytes() == loaded.sample([7]).tobytes()
    assert [len(fed["z"]) for fed in counting.fed] == [{"any": 1, "paired": 2, "padded": 64}[name]]


def with_pixel_norm() -> bytes:
    """A model that divides each pixel by a mean over its channels, which onnxruntime sums in another order for a single row."""
    graph = tiny_onnx.Graph()
    x = graph.reshape(graph.dense("z", 20, 32 * 7 * 7), 32, 7, 7)
    mean = graph.add("ReduceMean", graph.add("Mul", x, x), axes=[1], keepdims=1)
    x = graph.add("Div", x, graph.add("Sqrt", graph.add("Add", mean, graph.number(1e-8))))
    weights = np.random.default_rng(1).standard_normal((32, 1, 4, 4)).astype(np.float32) / 4
    x = graph.add("Tanh", graph.add("ConvTranspose", x, graph.constant(weights), strides=[2, 2], pads=[1, 1, 1, 1]))
    levels = graph.add("Add", graph.add("Mul", x, graph.number(127.5)), graph.number(127.5))
    graph.image(graph.add("Round", graph.add("Transpose", levels, perm=[0, 2, 3, 1])), 14, 14, 1)
    return tiny_onnx.finish("pixel-norm", graph, tiny_onnx.GREY, Image(14, 14, 1))


def test_each_of_many_seeds_is_the_same_alone_and_in_a_batch() -> None:
    """More seeds than any proof at the start tries, of a net whose floats depend on the number of rows."""
    model = model_from_bytes(with_pixel_norm(), "cpu")
    seeds = range(1_000)
    assert model.sample(seeds).tobytes() == b"".join(model.sample([seed]).tobytes() for seed in seeds)


def test_a_large_batch_is_several_runs() -> None:
    """Where any size is allowed, a batch of more rows than ``most`` is several runs, and no byte differs."""
    loaded = model_from_bytes(tiny_onnx.grey(), "cpu")
    session = CountingSession(loaded.session)
    kept = replace(loaded, session=session, batching=BatchingMode(most=8))
    assert kept.sample(range(20)).tobytes() == loaded.sample(range(20)).tobytes()
    assert [len(fed["z"]) for fed in session.fed] == [8, 8, 4]


def test_on_cuda_batches_have_one_size_from_the_start() -> None:
    """A few seeds with equal rows do not prove that the kernels for other sizes round alike."""
    loaded = model_from_bytes(tiny_onnx.grey(), "cpu")
    assert find_batching_mode(loaded.session, loaded.card, 64, "cuda") == BatchingMode(64)


def test_a_model_that_keeps_no_promise_is_refused() -> None:
    """A model whose rows are never the same again is refused."""
    loaded = model_from_bytes(tiny_onnx.grey(), "cpu")
    runs = iter(range(10**6))
    noisy = NoisySession(loaded.session, lambda n: next(runs) % 2 == 0)
    with pytest.raises(ModelError, match="same seed gives different outputs"):
        find_batching_mode(noisy, loaded.card, 64)


def test_idle_cores_compute_the_same_bytes() -> None:
    """An inference on idle cores runs in a session of more threads, and gives the bytes of the other session."""
    kept = model_from_bytes(tiny_onnx.convolutional(), "cpu", idle_threads=2)
    assert kept.idle_session is not None
    alone = kept.sample(range(64)).tobytes()
    kept = replace(kept, session=NoisySession(kept.session, lambda n: False))
    assert kept.sample(range(64)).tobytes() != alone
    assert kept.sample(range(64), on_idle_cores=True).tobytes() == alone


@pytest.mark.parametrize("threads", [1, 2])
def test_no_more_threads_than_usual_need_no_second_session(threads: int) -> None:
    """A single core, or as many threads for each inference as for an idle machine, leave the model with one session."""
    assert model_from_bytes(tiny_onnx.grey(), "cpu", intra_op_threads=2, idle_threads=threads).idle_session is None


@pytest.mark.parametrize("steady", [lambda n: False, lambda n: n < 33, lambda n: n != 1])
def test_threads_that_change_a_bit_are_found(steady: Callable[[int], bool]) -> None:
    """A second session that gives other bytes, in all batches or in one size, does not agree with the first."""
    loaded = model_from_bytes(tiny_onnx.grey(), "cpu")
    assert agrees(loaded.session, loaded.session, loaded.batching, loaded.card, 64)
    assert not agrees(loaded.session, NoisySession(loaded.session, steady), loaded.batching, loaded.card, 64)


def test_threads_that_change_a_bit_are_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """A model whose bytes depend on the number of threads has one number for all requests."""
    monkeypatch.setattr("serving.model.load.agrees", lambda *given: False)
    loaded = model_from_bytes(tiny_onnx.grey(), "cpu", idle_threads=2)
    assert loaded.idle_session is None


def test_padding_is_counted() -> None:
    """The rows run for nothing are those up to the next full batch."""
    assert [BatchingMode(64).padding(n) for n in (1, 63, 64, 65)] == [63, 1, 0, 63]
    assert BatchingMode().padding(3) == 0
    assert [BatchingMode(most=4, least=2).padding(n) for n in (1, 2, 4, 5, 6)] == [1, 0, 0, 1, 0]
