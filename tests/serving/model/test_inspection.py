"""What is found in a model before it serves: NaN weights, NaN behind a rounded image, results that no memory holds."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from contract import Image, Normal
from serving.errors import ModelError
from serving.model.inspection import open_inspection
from serving.model.load import model_from_bytes
from serving.model.memory import available_memory
from tests.serving import tiny_onnx
from tests.serving.tiny_onnx import GREY, Graph, finish, value_info


def image_of(graph: Graph, floats: str, moved: bool = False) -> bytes:
    """A model of 4x5 grey pixels from floats of that shape, without goldens."""
    inputs, shape = [value_info("z", "float32", ["n", 20])], graph.constant(np.array([-1, 4, 5, 1], np.int64))
    if moved:
        graph.add("Reshape", graph.add("Cast", floats, to=tiny_onnx.UINT8), shape, output="image")
    else:
        graph.add("Cast", graph.add("Reshape", floats, shape), output="image", to=tiny_onnx.UINT8)
    return finish("m", graph, GREY, Image(4, 5, 1), inputs, golden_seeds=())


@pytest.mark.parametrize("moved", [False, True], ids=["cast last", "cast, then reshaped"])
@pytest.mark.parametrize("bounded", [False, True], ids=["as it is", "clipped"])
def test_nan_behind_a_rounded_image_is_refused(moved: bool, bounded: bool) -> None:
    """F-14: the square root of a normal number is NaN for half of the seeds; its cast is a level, and the model is refused."""
    graph = Graph()
    scaled = graph.add("Mul", graph.add("Sqrt", "z"), graph.constant(np.array(255, np.float32)))
    if bounded:
        scaled = graph.add("Clip", scaled, *(graph.constant(np.array(level, np.float32)) for level in (0, 255)))
    with pytest.raises(ModelError, match="the image holds NaN or infinity before it is rounded"):
        model_from_bytes(image_of(graph, graph.add("Round", scaled), moved), "cpu")


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_weights_that_are_not_finite_are_refused(value: float) -> None:
    """F-14: a single NaN or infinite weight is found, also where no probe shows it: here it is clipped."""
    graph = Graph()
    weights = np.zeros(20, np.float32)
    weights[7] = value
    limits = [graph.constant(np.array(level, np.float32)) for level in (0, 255)]
    clipped = graph.add("Clip", graph.add("Add", "z", graph.constant(weights)), *limits)
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


def test_the_largest_batch_counts() -> None:
    """The size of a result is that of the largest batch, by the axis that is free."""
    data = tiny_onnx.build("wide", {"z": Normal(20)}, Image(4, 5, 1), [1000])
    inspection = open_inspection(data)
    inspection.check_memory(64, available=64 * 4000)
    with pytest.raises(ModelError, match="needs 256000 bytes in a batch of 64, and there are 255999"):
        inspection.check_memory(64, available=64 * 4000 - 1)


def test_the_largest_intermediate_result_limits_the_rows_of_a_run() -> None:
    """The rows of which the largest intermediate result has 8 MiB, and at least one."""
    for width, rows in ((1000, 2097), (2**22, 1)):
        data = tiny_onnx.build("wide", {"z": Normal(2)}, Image(1, 1, 1), [width], golden_seeds=())
        assert open_inspection(data).most_rows() == rows


def test_available_memory_is_the_machines_or_the_cgroups(tmp_path: Path) -> None:
    """The lower of what is free on the machine and the limit of the cgroup, version 2 or 1, where there is one."""
    meminfo = tmp_path / "meminfo"
    meminfo.write_text("MemTotal:       1000 kB\nMemAvailable:    100 kB\n")
    assert available_memory(meminfo, tmp_path) == 102_400
    (tmp_path / "memory.max").write_text("max\n")
    assert available_memory(meminfo, tmp_path) == 102_400
    (tmp_path / "memory.max").write_text("5000\n")
    assert available_memory(meminfo, tmp_path) == 5000
    (tmp_path / "memory").mkdir()
    (tmp_path / "memory" / "memory.limit_in_bytes").write_text("4000\n")
    assert available_memory(meminfo, tmp_path) == 4000
