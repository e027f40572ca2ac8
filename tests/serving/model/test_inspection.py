"""What is found in a model before it serves: NaN weights, NaN behind a rounded image, results that no memory holds."""

from __future__ import annotations

import resource
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest

from contract import Array, Image, Normal
from serving.errors import ModelError, NonFinite, OutOfMemory
from serving.model import load
from serving.model.determinism import BatchingMode
from serving.model.inspection import SEEDS, open_inspection
from serving.model.load import model_from_bytes
from serving.model.memory import available_memory
from serving.model.runtime import Session, open_session
from tests.serving import tiny_onnx
from tests.serving.onnx_protobuf import UINT8
from tests.serving.tiny_onnx import GREY, Graph, finish


def image_of(graph: Graph, floats: str, moved: bool = False) -> bytes:
    """A model of 4x5 grey pixels from floats of that shape, without goldens."""
    if moved:
        graph.reshape(graph.add("Cast", floats, to=UINT8), 4, 5, 1, output="image")
    else:
        graph.image(floats, 4, 5, 1)
    return finish("m", graph, GREY, Image(4, 5, 1), goldens=())


@pytest.mark.parametrize("moved", [False, True], ids=["cast last", "cast, then reshaped"])
@pytest.mark.parametrize("bounded", [False, True], ids=["as it is", "clipped"])
def test_nan_behind_a_rounded_image_is_refused(moved: bool, bounded: bool) -> None:
    """F-14: the square root of a normal number is NaN for half of the seeds; its cast is a level, and the model is refused."""
    graph = Graph()
    scaled = graph.add("Mul", graph.add("Sqrt", "z"), graph.number(255))
    if bounded:
        scaled = graph.add("Clip", scaled, graph.number(0), graph.number(255))
    with pytest.raises(ModelError, match="the image holds NaN or infinity before it is rounded"):
        model_from_bytes(image_of(graph, graph.add("Round", scaled), moved), "cpu")


@pytest.mark.parametrize("order", [0, 1], ids=["constant first", "constant last"])
def test_nan_is_found_behind_either_input_of_max(order: int) -> None:
    """F-14: a greatest or least value has its constant first or last, as a node of the graph, and hides no NaN."""
    graph = Graph()
    scaled = graph.add("Sqrt", "z")
    for operator, bound in (("Max", 0.0), ("Min", 255.0)):
        constant = graph.add("Constant", value_float=bound)
        scaled = graph.add(operator, *[(constant, scaled), (scaled, constant)][order])
    with pytest.raises(ModelError, match="the image holds NaN or infinity before it is rounded"):
        model_from_bytes(image_of(graph, scaled), "cpu")


def test_levels_that_no_byte_holds_are_refused() -> None:
    """A cast of 1,000 to uint8 is any number; where the graph bounds the levels, they may be any."""
    for is_bounded in (False, True):
        graph = Graph()
        levels = graph.add("Mul", graph.add("Abs", "z"), graph.number(1_000))
        if is_bounded:
            levels = graph.add("Clip", levels, graph.number(0), graph.number(255))
        data = image_of(graph, graph.add("Round", levels))
        with nullcontext() if is_bounded else pytest.raises(ModelError, match=r"levels must be 0 to 255 .* got \S+ to \d+"):
            model_from_bytes(data, "cpu")


@pytest.mark.parametrize(
    ("half", "middle", "is_right"), [(127.5, 128, True), (128, 128, False), (127.5, 127, True), (128, 127, False)]
)
def test_levels_are_those_that_a_cast_keeps(half: float, middle: float, is_right: bool) -> None:
    """What a cast rounds towards 0 to 0..255 is accepted, and 256 and -1 are not."""
    graph = Graph()
    levels = graph.add("Add", graph.add("Mul", graph.add("Sign", "z"), graph.number(half)), graph.number(middle))
    with nullcontext() if is_right else pytest.raises(ModelError, match="levels must be 0 to 255"):
        model_from_bytes(image_of(graph, levels), "cpu")


def test_levels_may_be_bounded_by_max_and_min() -> None:
    """As some exporters write ``Clip``."""
    graph = Graph()
    levels = graph.add("Mul", "z", graph.number(1_000))
    for operator, bound in (("Max", 0.0), ("Min", 255.0)):
        levels = graph.add(operator, levels, graph.add("Constant", value_float=bound))
    assert model_from_bytes(image_of(graph, levels), "cpu").card.name == "m"


def test_nan_of_a_later_seed_is_an_error() -> None:
    """F-14: where finite weights give NaN for a seed that no probe has, a run with that seed fails, and others do not."""
    model, bad = tiny_onnx.rarely_nan()
    assert bad not in SEEDS
    with pytest.raises(NonFinite):
        model.sample([bad])
    with pytest.raises(NonFinite):
        model.sample([1, 2, bad, 3])
    assert model.sample([1, 2, 3]).any()


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_weights_that_are_not_finite_are_refused(value: float) -> None:
    """F-14: a single NaN or infinite weight is found, also where no probe shows it: here it is clipped."""
    graph = Graph()
    weights = np.zeros(20, np.float32)
    weights[7] = value
    clipped = graph.add("Clip", graph.add("Add", "z", graph.constant(weights)), graph.number(0), graph.number(255))
    with pytest.raises(ModelError, match="the weights '[a-z0-9]+' hold NaN or infinity"):
        model_from_bytes(image_of(graph, clipped), "cpu")


def test_a_result_that_no_memory_holds_is_refused() -> None:
    """S-09: 2^40 zeros, of which one is used, are refused before anything is computed."""
    graph = Graph()
    zeros = graph.add("ConstantOfShape", graph.constant(np.array([2**20, 2**20], np.int64)))
    first = graph.constant(np.array(0, np.int64))
    one = graph.add("Gather", graph.add("Gather", zeros, first), first)
    with pytest.raises(ModelError, match=r"'\w+' needs 4398046511104 bytes in a batch of 64, and there are \d+"):
        model_from_bytes(image_of(graph, graph.add("Add", "z", one)), "cpu")


def computed_zeros(megabytes: int) -> bytes:
    """A model that adds one of many zeros, the number of which is computed: no shape says how much memory they need."""
    graph = Graph()
    row = graph.add("Shape", graph.add("ReduceSum", "z"))  # [1, 1]
    shape = graph.add("Mul", row, graph.constant(np.array([2**18, megabytes], np.int64)))
    zeros = graph.add("ConstantOfShape", shape)
    return image_of(graph, graph.add("Add", "z", graph.add("ReduceSum", zeros)))


def test_a_result_of_unknown_size_that_no_memory_holds_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """S-09: what a model takes is limited to what is available, also where its size is only known when it is computed."""
    taken = peak_memory()
    monkeypatch.setattr(load, "available_memory", lambda: 2**28)
    limits = resource.getrlimit(resource.RLIMIT_DATA)
    with pytest.raises(ModelError, match="needs more memory than is available.*buffer of size 1073741824"):
        model_from_bytes(computed_zeros(1024), "cpu")
    assert peak_memory() < taken + 2**28
    assert resource.getrlimit(resource.RLIMIT_DATA) == limits
    assert model_from_bytes(tiny_onnx.grey(), "cpu").card.name == "grey"


def test_a_file_that_no_memory_holds_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """S-09: reading a file counts: a sparse one of 1.5 GB is refused when less is available."""
    monkeypatch.setattr(load, "available_memory", lambda: 2**28)
    with (tmp_path / "sparse.onnx").open("wb") as file:
        file.truncate(1_500_000_000)
    with pytest.raises(ModelError, match=r"sparse\.onnx: the model needs more memory than is available"):
        load.load_model(tmp_path / "sparse.onnx", "cpu")


def peak_memory() -> int:
    """The most resident bytes that this process has had."""
    return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def test_the_largest_batch_counts() -> None:
    """The size of a result is that of the largest batch, by the axis that is free."""
    data = tiny_onnx.build("wide", {"z": Normal(20)}, Image(4, 5, 1), [1000])
    inspection = open_inspection(data)
    inspection.check_memory(64, available=64 * 4000)
    with pytest.raises(ModelError, match="needs 256000 bytes in a batch of 64, and there are 255999"):
        inspection.check_memory(64, available=64 * 4000 - 1)


@pytest.mark.slow
def test_the_largest_intermediate_result_limits_the_rows_of_a_run() -> None:
    """The rows of which the largest intermediate result has 8 MiB, and at least one."""
    for width, rows in ((1000, 2097), (2**22, 1)):
        data = tiny_onnx.build("wide", {"z": Normal(2)}, Image(1, 1, 1), [width], golden_seeds=())
        assert open_inspection(data).most_rows() == rows


def test_available_memory_is_the_machines_or_the_cgroups(tmp_path: Path) -> None:
    """The lower of what is free on the machine and what the limit of the cgroup, version 2 or 1, leaves to it."""
    meminfo = tmp_path / "meminfo"
    meminfo.write_text("MemTotal:       1000 kB\nMemAvailable:    100 kB\n")
    assert available_memory(meminfo, tmp_path) == 102_400
    (tmp_path / "memory.max").write_text("max\n")
    assert available_memory(meminfo, tmp_path) == 102_400
    (tmp_path / "memory.max").write_text("5000\n")
    assert available_memory(meminfo, tmp_path) == 5000
    (tmp_path / "memory.stat").write_text("anon 100\nfile 900\n")
    assert available_memory(meminfo, tmp_path) == 4900
    (tmp_path / "memory").mkdir()
    (tmp_path / "memory" / "memory.limit_in_bytes").write_text("4000\n")
    (tmp_path / "memory" / "memory.stat").write_text("cache 7\ntotal_cache 9\ntotal_rss 5000\n")
    assert available_memory(meminfo, tmp_path) == 0


FULL = "Status Message: bfc_arena.cc:360 Failed to allocate memory for requested buffer of size 268435456"


class Full:
    """A session of a device with memory for a few rows, with the error of onnxruntime's arena for more."""

    def __init__(self, session: Session, rows: int) -> None:
        self._session, self._rows = session, rows
        self.runs: list[int] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._session, name)

    def run(self, names: list[str] | None, inputs: dict[str, Array], /) -> Any:
        self.runs.append(len(inputs["z"]))
        if self.runs[-1] > self._rows:
            raise RuntimeError(FULL)
        return self._session.run(names, inputs)


def test_a_batch_without_memory_is_run_in_halves() -> None:
    """F-23: where the number of rows is free, a run that finds too little memory is repeated in halves, with the same rows."""
    model = model_from_bytes(tiny_onnx.grey(), "cpu")
    full = Full(model.session, 4)
    assert (replace(model, session=cast(Session, full)).sample(range(8)) == model.sample(range(8))).all()
    assert full.runs == [8, 4, 4]


def test_two_rows_without_memory_are_run_one_by_one() -> None:
    """F-23: half of two rows is one; a single row has no half."""
    model = model_from_bytes(tiny_onnx.grey(), "cpu")
    full = Full(model.session, 1)
    assert (replace(model, session=cast(Session, full)).sample(range(2)) == model.sample(range(2))).all()
    assert full.runs == [2, 1, 1]
    none = replace(model, session=cast(Session, Full(model.session, 0)))
    with pytest.raises(OutOfMemory):
        none.sample([0])


@pytest.mark.parametrize("batching", [BatchingMode(8), BatchingMode()], ids=["padded to a fixed size", "any size"])
def test_a_batch_for_which_no_half_has_memory_is_refused(batching: BatchingMode) -> None:
    """F-23: what halves do not help, or would change, as on CUDA, is 503: too little memory now."""
    model = model_from_bytes(tiny_onnx.grey(), "cpu")
    full = Full(model.session, 2)
    with pytest.raises(OutOfMemory):
        replace(model, session=cast(Session, full), batching=batching).sample(range(8))
    assert full.runs == [8] if batching.rows else [8, 4]


def test_a_model_for_which_the_device_has_no_memory_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """S-09: the error of the device's allocator in the self-test, such as a GPU's, is a reason to refuse the model."""
    monkeypatch.setattr(load, "open_session", lambda *given, **options: Full(open_session(*given, **options), 1))
    with pytest.raises(ModelError, match="needs more memory than is available: .*Failed to allocate memory"):
        model_from_bytes(tiny_onnx.grey(), "cpu")
