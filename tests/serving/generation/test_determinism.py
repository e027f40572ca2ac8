"""The promise itself: the same seed gives the same bytes, alone, in any batch, at any position, in any version."""

from __future__ import annotations

import hashlib
import json
import random
import struct
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from contract import digest_latents, draw
from serving.encoding.formats import fingerprints
from serving.errors import NonFinite
from serving.generation.generate import Reply, RequestHeaders, Service
from serving.model.load import Model, load_model
from tests.serving.client import fetch
from tests.serving.sessions import CountingSession
from tests.serving.tiny_onnx import rarely_nan

GOLDEN = Path(__file__).with_name("golden.json")
SEEDS = [0, 1, 2, 3, 5, 8, 42, 99, 1000, 65535, 123456789, 2**31 - 1, 2**31, 2**31 + 1, 2**32 - 2, 2**32 - 1]
NAMES = ["conditional", "grey", "colour", "points2", "tokens", "exact"]


def image(service: Service, query: str) -> bytes:
    return fetch(service, query).body


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_a_seed_gives_one_answer_a_thousand_times(make_service: Callable[..., Service], name: str) -> None:
    """D-01: seed 42, asked a thousand times, has one SHA-256."""
    service = make_service()
    assert len({image(service, f"model={name}&seed=42") for _ in range(1000)}) == 1


@pytest.mark.slow
def test_a_seed_gives_the_same_among_others(make_service: Callable[..., Service]) -> None:
    """D-02: in 200 random mixes asked by 32 threads at once, seed 42 brings the bytes that it brings alone."""
    service = make_service()
    alone = image(service, "seed=42")
    numbers = random.Random(1)
    queries = ["seed=42" if numbers.random() < 0.3 else f"seed={numbers.randrange(2**32)}&y=3" for _ in range(200 * 32)]
    with ThreadPoolExecutor(32) as pool:
        answers = list(pool.map(lambda query: image(service, query), queries))
    assert {answer for query, answer in zip(queries, answers, strict=True) if query == "seed=42"} == {alone}
    batch_sizes = service.metrics.registry.get_sample_value("gan_batch_size_count")
    assert batch_sizes is not None
    assert batch_sizes < len(queries)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("size", [1, 2, 3, 8, 33, 64])
def test_a_seed_gives_the_same_at_every_place_of_a_batch(models: dict[str, Model], name: str, size: int) -> None:
    """D-03: in every slot of a batch, with any other rows, a seed's row is bit-equal to the row alone."""
    model = models[name]
    alone = model.sample([42]).tobytes()
    for slot in range(size):
        seeds = [*range(100, 100 + slot), 42, *range(500, 500 + size - slot - 1)]
        assert model.sample(seeds)[slot].tobytes() == alone


@pytest.mark.parametrize("slot", range(0, 64, 7))
def test_a_seed_gives_the_same_from_every_place_in_the_queue(make_service: Callable[..., Service], slot: int) -> None:
    """64 threads wait together and run as one batch; each gets the bytes that it gets alone, the one in this slot too."""
    service = make_service()
    seeds = [1000 + place if place != slot else 42 for place in range(64)]
    alone = [image(service, f"model=grey&seed={seed}") for seed in seeds]
    barrier = threading.Barrier(64)

    def ask(seed: int) -> bytes:
        barrier.wait(30)
        return image(service, f"model=grey&seed={seed}")

    with ThreadPoolExecutor(64) as pool:
        assert list(pool.map(ask, seeds)) == alone


def test_a_contact_sheet_shows_the_single_images(make_service: Callable[..., Service]) -> None:
    """With n=70, more than a batch, each row is the row of its seed alone."""
    service = make_service()
    sheet = json.loads(image(service, "model=grey&seed=10&n=70&format=json"))["data"]
    singles = [json.loads(image(service, f"model=grey&seed={seed}&format=json"))["data"][0] for seed in range(10, 80)]
    assert sheet == singles


@pytest.mark.parametrize("threads", [1, 2])
def test_loading_again_gives_the_same(folder: Path, models: dict[str, Model], threads: int) -> None:
    """D-04: a new session, with one or two threads an inference, gives the same bytes for batches of 1 and 64."""
    again = load_model(folder / "1-grey.onnx", "cpu", intra_op_threads=threads)
    for seeds in ([42], range(64)):
        assert again.sample(list(seeds)).tobytes() == models["grey"].sample(list(seeds)).tobytes()


@pytest.fixture
def counted(make_service: Callable[..., Service], models: dict[str, Model]) -> tuple[Service, CountingSession]:
    """A service of one model, and the session that counts its runs."""
    session = CountingSession(models["grey"].session)
    return make_service({"grey": replace(models["grey"], session=session)}), session


def test_a_request_is_one_run_of_its_own_latents(counted: tuple[Service, CountingSession]) -> None:
    """D-05: eight requests, one after another, are eight runs of one row, each fed the latents of its seed."""
    service, session = counted
    for seed in range(8):
        image(service, f"seed={seed}")
    assert [digest_latents(fed, 0) for fed in session.fed] == [
        digest_latents(draw(service.registry["grey"].model.card.latents, [seed]), 0) for seed in range(8)
    ]


def test_a_large_request_is_run_in_full_batches(counted: tuple[Service, CountingSession]) -> None:
    """D-05: n=150 is three runs of 64, 64 and 22 rows."""
    service, session = counted
    image(service, "seed=0&n=150")
    assert [len(fed["z"]) for fed in session.fed] == [64, 64, 22]


def test_304_and_head_never_run_the_model(counted: tuple[Service, CountingSession]) -> None:
    """D-10: the entity tag is known without inference, so HEAD and a matching If-None-Match cost none."""
    service, session = counted
    head = fetch(service, "seed=42", RequestHeaders(is_head=True))
    etag = dict(head.headers)["ETag"]
    not_modified = fetch(service, "seed=42", RequestHeaders(if_none_match=f'"x", W/{etag}'))
    assert (head.status, not_modified.status, session.fed) == (200, 304, [])
    answer = fetch(service, "seed=42")
    assert [h for h in answer.headers if h[0] != "Content-Length"] == head.headers
    assert dict(not_modified.headers)["ETag"] == dict(answer.headers)["ETag"] == etag
    assert not not_modified.body


def test_wrong_requests_never_run_the_model(counted: tuple[Service, CountingSession]) -> None:
    """A request that is refused costs no inference."""
    service, session = counted
    for query in ("seed=x", "seed=1&format=gif", "seed=1&n=256&scale=16", "seed=1&foo=1"):
        with pytest.raises(Exception, match="must be|no parameter"):
            fetch(service, query)
    assert session.fed == []


def test_another_models_entity_tag_does_not_match(make_service: Callable[..., Service]) -> None:
    """D-10: the entity tag of another model, seed, format, n, scale or value brings the whole answer, 200."""
    service = make_service()
    queries = [
        "seed=42",
        "seed=43",
        "seed=42&n=2",
        "seed=42&scale=2",
        "seed=42&format=webp",
        "seed=42&y=3",
        "seed=42&y=4",
        "seed=42&c0=.5",
        "seed=42&c1=.5",
        "seed=42&model=grey",
        "seed=42&model=colour",
    ]
    etags = [dict(fetch(service, query, RequestHeaders(is_head=True)).headers)["ETag"] for query in queries]
    assert len(set(etags)) == len(queries)
    assert fetch(service, queries[0], RequestHeaders(if_none_match=", ".join(etags[1:]))).status == 200


@pytest.mark.parametrize(
    ("one", "other"), [("c0=.5&y=1", "y=1&c0=0.50"), ("c0=-0.0", "c0=0"), ("n=1&scale=1", "model=conditional")]
)
def test_two_ways_to_say_the_same_have_one_answer(make_service: Callable[..., Service], one: str, other: str) -> None:
    """Order, notation and defaults spelt out change neither entity tag nor bytes."""
    service = make_service()
    replies = [fetch(service, f"seed=5&{query}") for query in (one, other)]
    assert replies[0] == replies[1]


@pytest.mark.parametrize("name", NAMES)
def test_the_ends_of_the_range_are_different_images(make_service: Callable[..., Service], name: str) -> None:
    """D-07: seeds 0, 1, 2^31-1, 2^31 and 2^32-1 give five images: no sign, no overflow."""
    service = make_service()
    assert len({image(service, f"model={name}&seed={seed}&format=npy") for seed in (0, 1, 2**31 - 1, 2**31, 2**32 - 1)}) == 5


@pytest.mark.parametrize("seed", [2**31 - 2, 2**32 - 4])
def test_a_sheet_counts_on_over_the_sign_bit_and_to_the_end(make_service: Callable[..., Service], seed: int) -> None:
    """D-07: four rows from 2^31-2, or up to 2^32-1, are those of the four seeds alone."""
    service = make_service()
    sheet = json.loads(image(service, f"model=grey&seed={seed}&n=4&format=json"))["data"]
    assert sheet == [json.loads(image(service, f"model=grey&seed={seed + i}&format=json"))["data"][0] for i in range(4)]


def sha(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


@pytest.fixture(scope="module")
def golden() -> dict[str, Any]:
    """Values computed once that must never change: the model ``exact`` sums small integers only."""
    loaded: dict[str, Any] = json.loads(GOLDEN.read_text())
    return loaded


def test_golden_latents(models: dict[str, Model], golden: dict[str, Any]) -> None:
    """D-06: the latents of 16 seeds are those of the golden file; a change here is a change of NumPy or of ``draw``."""
    latents = models["exact"].card.latents
    assert [digest_latents(draw(latents, [seed]), 0) for seed in SEEDS] == golden["latents"]


def test_golden_pixels(models: dict[str, Model], golden: dict[str, Any]) -> None:
    """D-06: the pixels of 16 seeds are those of the golden file; a change here alone is a change of onnxruntime."""
    assert [sha(models["exact"].sample([seed]).tobytes()) for seed in SEEDS] == golden["pixels"]


def test_golden_files(models: dict[str, Model], make_service: Callable[..., Service], golden: dict[str, Any]) -> None:
    """D-06: the PNG of 16 seeds is that of the golden file, where the encoder is the same; else its fingerprint differs."""
    encoder = fingerprints()["image", "png"]
    if encoder != golden["encoder"]:
        pytest.skip(f"the encoder's fingerprint is {encoder}, the golden file's is {golden['encoder']}")
    service = make_service()
    files = [image(service, f"model=exact&seed={seed}") for seed in SEEDS]
    assert [sha(without_text(data)) for data in files] == golden["png"]


def without_text(png: bytes) -> bytes:
    """A PNG's chunks but the text, which names the runtime."""
    kept, place = [png[:8]], 8
    while place < len(png):
        size = struct.unpack(">I", png[place : place + 4])[0] + 12
        if png[place + 4 : place + 8] != b"tEXt":
            kept.append(png[place : place + size])
        place += size
    return b"".join(kept)


def test_a_row_that_is_not_finite_fails_alone(make_service: Callable[..., Service], models: dict[str, Model]) -> None:
    """NaN from one seed is a problem of its own request; the next seed is answered."""

    class NotANumber(CountingSession):
        def run(self, output_names: list[str] | None, input_feed: Any, /) -> Any:
            rows = super().run(output_names, input_feed)[0]
            return [np.where(digest_latents(input_feed, 0) == bad, np.float32(np.nan), rows)]

    model = models["points2"]
    bad = digest_latents(draw(model.card.latents, [13]), 0)
    service = make_service({"points2": replace(model, session=NotANumber(model.session))})
    with pytest.raises(Exception, match="NaN or infinity"):
        image(service, "seed=13")
    assert image(service, "seed=14") == image(make_service(), "model=points2&seed=14")


def test_an_image_with_nan_fails_alone(make_service: Callable[..., Service]) -> None:
    """F-14: NaN in one pixel of one seed is an error each time, and is not kept; an image of the same batch is answered."""
    model, bad = rarely_nan()
    service = make_service({"m": model}, cache_bytes=2**20)
    alone = image(service, f"seed={bad + 1}")
    service = make_service({"m": model}, cache_bytes=2**20)
    barrier = threading.Barrier(3)

    def ask(seed: int) -> Reply | NonFinite:
        barrier.wait(30)
        try:
            return fetch(service, f"seed={seed}")
        except NonFinite as error:
            return error

    with ThreadPoolExecutor(3) as pool:
        replies = list(pool.map(ask, [bad, bad + 1, bad]))
    assert [isinstance(reply, NonFinite) for reply in replies] == [True, False, True]
    assert replies[1].body == alone
    with pytest.raises(NonFinite):
        fetch(service, f"seed={bad}")
