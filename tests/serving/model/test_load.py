"""How a model file gets in, and all the ways in which one is refused."""

from __future__ import annotations

import gc
import hashlib
import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from contract import METADATA_KEY, Categorical, Golden, Image, Normal, Points, Tokens
from contract.runtime import MAX_NODES
from serving.errors import ModelError, ProviderError
from serving.model.determinism import compare_goldens
from serving.model.load import load_model, model_from_bytes
from serving.model.onnx_file import read_contents
from serving.model.runtime import PROBE, open_session, resolve_provider, runtime_of
from tests.serving import tiny_onnx
from tests.serving.onnx_protobuf import CODES, FLOAT, message, model, node, number, tensor, text, value_info, varint
from tests.serving.tiny_onnx import GREY, Graph, build, finish, inputs_of


def test_a_model_says_what_it_is(folder: Path) -> None:
    """A loaded model holds its file's SHA-256, its runtime class, its parameters, and that its goldens are exact here."""
    path = folder / "0-conditional.onnx"
    loaded = load_model(path, "cpu")
    assert loaded.digest == hashlib.sha256(path.read_bytes()).hexdigest()
    assert loaded.runtime == runtime_of("cpu")
    assert (loaded.goldens.latents, loaded.goldens.pixels, loaded.batching.name) == ("exact", "exact", "any")
    assert list(loaded.parameters) == ["y", "c0", "c1"]


def test_two_loads_have_the_same_fingerprint(folder: Path) -> None:
    """What identifies a model on this machine does not change from one load to the next."""
    path = folder / "1-grey.onnx"
    assert load_model(path, "cpu").fingerprint == load_model(path, "cpu").fingerprint


def test_another_device_has_another_fingerprint(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """D-08: the same file on CUDA has other entity tags than on the CPU, so that no cache mixes their answers."""
    first = load_model(folder / "1-grey.onnx", "cpu").fingerprint
    monkeypatch.setattr("serving.model.load.runtime_of", lambda device: "onnxruntime-1.31-cuda-H100")
    assert load_model(folder / "1-grey.onnx", "cpu").fingerprint != first


def test_a_file_that_is_replaced_while_it_is_read_is_the_old_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """S-11: what was opened is read to its end; digest and model are of the same bytes."""
    (tmp_path / "m.onnx").write_bytes(tiny_onnx.grey())
    (tmp_path / "other.onnx").write_bytes(tiny_onnx.colour())
    expected, fstat = hashlib.sha256(tiny_onnx.grey()).hexdigest(), os.fstat

    def swap(descriptor: int) -> os.stat_result:
        if (tmp_path / "other.onnx").exists():
            (tmp_path / "other.onnx").replace(tmp_path / "m.onnx")
        return fstat(descriptor)

    monkeypatch.setattr(os, "fstat", swap)
    loaded = load_model(tmp_path / "m.onnx", "cpu")
    assert (loaded.digest, loaded.card.name) == (expected, "grey")
    assert not (tmp_path / "other.onnx").exists()


def with_output(dtype: str, shape: Sequence[int], name: str = "image") -> bytes:
    """A model whose graph gives another output than its card says: 8x8 grey."""
    graph = Graph()
    flat = graph.dense("z", 20, int(np.prod(shape)))
    graph.add("Cast", graph.reshape(flat, *shape), output=name, to=CODES[dtype])
    card = read_contents(tiny_onnx.exact()).metadata
    return model(graph.nodes, graph.weights, inputs_of(GREY), [value_info(name, dtype, ["n", *shape])], card)


def with_input(name: str, dtype: str, shape: Sequence[int | str]) -> bytes:
    """A model whose graph takes another input than its card says."""
    graph = Graph()
    graph.image(name if dtype == "float32" else graph.add("Cast", name, to=FLOAT), 4, 5, 1)
    return finish("m", graph, GREY, Image(4, 5, 1), golden_seeds=(), inputs=[value_info(name, dtype, shape)])


def two_outputs() -> bytes:
    """A model with an output that its card does not know."""
    graph = Graph()
    flat = graph.dense("z", 20, 64)
    graph.image(flat, 8, 8, 1)
    graph.add("Identity", flat, output="other")
    outputs = [value_info("image", "uint8", ["n", 8, 8, 1]), value_info("other", "float32", ["n", 64])]
    card = read_contents(tiny_onnx.exact()).metadata
    return model(graph.nodes, graph.weights, inputs_of(GREY), outputs, card)


def external() -> bytes:
    """A model with one weight in another file."""
    where = message(13, text(1, "location"), text(2, "../weights.bin"))
    outside = tensor("far", np.zeros((2, 2), np.float32), where, number(14, 1))
    return model(
        [node("Identity", ["x"], "y")],
        {},
        [value_info("x", "float32", ["n"])],
        [value_info("y", "float32", ["n"])],
        {METADATA_KEY: "{}"},
        [outside],
    )


def external_in_a_sparse_weight() -> bytes:
    """A model with the values of a sparse weight in another file."""
    where = message(13, text(1, "location"), text(2, "/etc/passwd"))
    values = message(1, tensor("far", np.zeros(2, np.float32), where, number(14, 1)))
    return model([node("Identity", ["x"], "y")], {}, [], [], {METADATA_KEY: "{}"}) + message(7, message(15, values))


def external_in_a_branch() -> bytes:
    """A model with a weight in another file, hidden in an attribute's subgraph."""
    where = message(13, text(1, "location"), text(2, "/etc/passwd"))
    constant = text(4, "Constant") + text(2, "k") + message(5, text(1, "value"), message(5, number(1, 1), where))
    branch = message(5, text(1, "then_branch"), message(6, message(1, constant)))
    return model([text(4, "If") + text(1, "c") + branch], {}, [], [], {METADATA_KEY: "{}"})


def with_nodes(*nodes: bytes) -> bytes:
    """A graph of these nodes and nothing else."""
    return model(nodes, {}, [], [], {METADATA_KEY: "{}"})


def nested() -> bytes:
    """Graphs inside graphs, two hundred deep."""
    graph = b""
    for _ in range(200):
        graph = message(1, text(4, "If"), message(5, text(1, "then_branch"), message(6, graph)))
    return message(7, graph)


def with_golden(**changes: Any) -> bytes:
    golden = model_from_bytes(tiny_onnx.grey(), "cpu").card.goldens[0]
    return tiny_onnx.grey(goldens=(replace(golden, **changes),))


def shifted(levels: int) -> Any:
    row = model_from_bytes(tiny_onnx.grey(), "cpu").card.goldens[0].output.astype(int)
    return np.where(row < 128, row + levels, row - levels).astype(np.uint8)


def constant() -> bytes:
    """A model of one picture: its latents are multiplied by 0."""
    graph = Graph()
    graph.image(graph.dense(graph.add("Mul", "z", graph.number(0)), 20, 64), 8, 8, 1)
    return finish("m", graph, GREY, Image(8, 8, 1), golden_seeds=())


def not_finite() -> bytes:
    """A model of points that are all NaN."""
    graph = Graph()
    graph.add("Sqrt", graph.constant(np.full((1, 2), -1, np.float32)), output="w")
    graph.add("Add", graph.dense("z", 4, 2), "w", output="points")
    latents, output = {"z": Normal(4)}, Points(2, (0, 0), (1, 1))
    return finish("nan", graph, latents, output, golden_seeds=())


OPSET_17 = message(8, text(1, ""), number(2, 17))

REFUSED: list[tuple[str, Callable[[], bytes], str]] = [
    ("empty", lambda: b"", "1..2147483647 bytes, has 0"),
    ("HTML", lambda: b"<!doctype html><title>404</title>", "not an ONNX model"),
    ("cut in half", lambda: tiny_onnx.grey()[:5000], "truncated"),
    ("one byte short", lambda: tiny_onnx.grey()[:-1], "truncated"),
    ("no card", lambda: model([node("Identity", ["x"], "y")], {}, [], [], {}), "no card"),
    ("a card that is not JSON", lambda: model([], {}, [], [], {METADATA_KEY: "{"}), "not JSON"),
    ("external data", external, "one file"),
    ("external data in a branch", external_in_a_branch, "one file"),
    ("external data in a sparse weight", external_in_a_sparse_weight, "one file"),
    ("nested too deep", nested, "deeper than 64"),
    ("unknown operator", lambda: tiny_onnx.exact().replace(b"Clip", b"Clop"), "onnxruntime refuses it"),
    ("an operator of another domain", lambda: with_nodes(text(4, "Gelu") + text(7, "com.microsoft")), "got one of the domain"),
    ("a loop", lambda: with_nodes(text(4, "Loop")), "the operator Loop may run endlessly"),
    ("zeros", lambda: bytes(1_000_000), "not an ONNX model"),
    ("millions of fields", lambda: 2_000_001 * number(1, 8), "at most 2000000 fields"),
    ("a million nodes", lambda: with_nodes(*(1_000_000 * (text(4, "Abs"),))), "at most 20000 nodes"),
    ("another input", lambda: with_input("w", "float32", ["n", 20]), "inputs must be z by the card, got w"),
    ("input of integers", lambda: with_input("z", "int64", ["n", 20]), "input z must be tensor(float), got tensor(int64)"),
    ("input too wide", lambda: with_input("z", "float32", ["n", 40]), "input z must have shape [n, 20]"),
    ("fixed batch", lambda: with_input("z", "float32", [1, 20]), "input z must have a dynamic batch"),
    ("another output", lambda: with_output("uint8", [8, 8, 1], "out"), "outputs must be image by the card, got out"),
    ("floats for pixels", lambda: with_output("float32", [8, 8, 1]), "output image must be tensor(uint8)"),
    ("output of another size", lambda: with_output("uint8", [8, 8, 3]), "output image must have shape [n, 8, 8, 1]"),
    ("other latents", lambda: with_golden(latents="0" * 64), "golden seed 0: the latents"),
    ("other pixels", lambda: with_golden(output=shifted(2)), "greatest difference 2"),
    ("one picture", constant, "the model gives one image for all of 8 seeds"),
    ("NaN", not_finite, "NaN or infinity"),
    ("an opset of the future", lambda: tiny_onnx.grey().replace(OPSET_17, OPSET_17[:-1] + b"\x63"), "refuses it"),
    ("a format of the future", lambda: b"\x08\x63" + tiny_onnx.grey()[2:], "refuses it"),
    ("input of another rank", lambda: with_input("z", "float32", ["n", 4, 5]), "input z must have shape [n, 20]"),
    ("input of half floats", lambda: with_input("z", "float16", ["n", 20]), "tensor(float), got tensor(float16)"),
    ("two outputs", two_outputs, "outputs must be image by the card, got image, other"),
    ("a latent called seed", lambda: build("m", {"seed": Categorical(3)}, Image(4, 4, 1)), "card.latents has one called seed"),
    ("a latent called n", lambda: build("m", {"n": Categorical(3)}, Image(4, 4, 1)), "gives the parameter 'n'"),
    ("noise called seed", lambda: build("m", {"seed": Normal(20)}, Image(4, 4, 1)), "card.latents has one called seed"),
    ("a name for no URL", lambda: build("../grey", GREY, Image(4, 4, 1)), "card.name must be"),
    ("a name without end", lambda: build(100_000 * "x", GREY, Image(4, 4, 1)), "card.name must be"),
]


@pytest.mark.parametrize(("make", "reason"), [case[1:] for case in REFUSED], ids=[case[0] for case in REFUSED])
def test_a_bad_file_is_refused_with_its_reason(make: Callable[[], bytes], reason: str, tmp_path: Path) -> None:
    """A file that is not a whole, self-contained, truthful model is refused, and a short message names file and reason."""
    path = tmp_path / "bad.onnx"
    path.write_bytes(make())
    with pytest.raises(ModelError) as refusal:
        load_model(path, "cpu")
    assert reason in str(refusal.value)
    assert str(path) in str(refusal.value)
    assert "\n" not in str(refusal.value)
    assert len(str(refusal.value)) < 1500


@pytest.mark.parametrize("width", [1, 2, 3])
def test_a_field_number_that_onnxruntime_would_cut_is_refused(width: int) -> None:
    """A tag of more than 32 bits hides a field from these checks, and onnxruntime reads its last 32 bits."""
    plain = tiny_onnx.grey()
    hidden = varint(4 << 3 | 2 | 1 << 31 + width) + varint(4) + b"Loop"
    data = plain + message(7, message(1, hidden))
    with pytest.raises(ModelError, match="truncated or not an ONNX model"):
        model_from_bytes(data, "cpu")


def test_the_greatest_number_of_nodes_is_read() -> None:
    """A graph of as many nodes as are allowed is read, and one of one more is refused."""
    nodes = MAX_NODES * (text(4, "Abs"),)
    assert read_contents(with_nodes(*nodes)).nodes == MAX_NODES
    with pytest.raises(ModelError, match=f"at most {MAX_NODES} nodes"):
        read_contents(with_nodes(*nodes, text(4, "Abs")))


def test_tokens_beyond_the_vocabulary_are_refused() -> None:
    """The card says how many there are."""
    data = tiny_onnx.build("tokens", tiny_onnx.GREY, Tokens(12, 30))
    assert b'"vocabulary":30' in data
    with pytest.raises(ModelError, match=r"tokens must be 0 to 9 by the card, got 0 to 29"):
        model_from_bytes(data.replace(b'"vocabulary":30', b'"vocabulary":10'), "cpu")


def test_a_flipped_bit_in_the_weights_is_found(tmp_path: Path) -> None:
    """A weight with another exponent loads in onnxruntime without a word; the goldens find it."""
    data = bytearray(tiny_onnx.grey())
    graph = Graph()
    graph.dense("z", 20, 48)
    place = data.find(graph.weights["w0"].tobytes()) + 3
    data[place] ^= 0x40
    with pytest.raises(ModelError, match="golden seed"):
        model_from_bytes(bytes(data), "cpu")


def test_one_grey_level_is_close() -> None:
    """Goldens that are one level off, as another processor may make them, are recorded as close and accepted."""
    assert model_from_bytes(with_golden(output=shifted(1)), "cpu").goldens.pixels == "close"


def test_points_may_differ_by_a_ten_thousandth() -> None:
    """Points within 1e-4 of the plotted region are close; beyond it the model is refused."""
    loaded = model_from_bytes(tiny_onnx.points(), "cpu")
    golden = loaded.card.goldens[0]

    def compare(offset: float) -> str:
        moved = Golden(seed=golden.seed, latents=golden.latents, output=golden.output + np.float32(offset))
        card = replace(loaded.card, goldens=(moved,))
        return compare_goldens(loaded.session, loaded.batching, card, loaded.runtime).pixels

    assert compare(0) == "exact"
    assert compare(0.001) == "close"
    with pytest.raises(ModelError):
        compare(0.01)


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir], ids=["pipe", "folder"])
def test_a_path_that_is_no_file_is_refused_without_waiting(make: Callable[[Path], None], tmp_path: Path) -> None:
    """A pipe or a folder in a model's place is refused at once, and is not left open."""
    make(tmp_path / "m.onnx")
    gc.collect()  # what earlier tests have left
    before = os.listdir("/proc/self/fd")
    with pytest.raises(ModelError, match="regular file|directory"):
        load_model(tmp_path / "m.onnx", "cpu")
    assert os.listdir("/proc/self/fd") == before


def test_cuda_is_never_answered_by_the_cpu() -> None:
    """Where CUDA is not there, asking for it is an error and asking for either gives the CPU."""
    if resolve_provider("auto") == "cuda":
        pytest.skip("CUDA is there")
    with pytest.raises(ProviderError, match="GAN_PROVIDER=cuda"):
        resolve_provider("cuda")


def test_the_probe_runs() -> None:
    """The model inside the program, by which a device is tried, is a model."""
    assert open_session(PROBE, "cpu", 1).run(None, {"x": np.ones(3, np.float32)})[0].tolist() == [1, 1, 1]
