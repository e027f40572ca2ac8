"""Load a model: read the file once, hash it, check it against its card, and compare its goldens."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np

from contract import (
    Array,
    Card,
    CardError,
    Device,
    Inputs,
    Overrides,
    Parameter,
    card_from_metadata,
    check_names,
    parameters,
    probe_inputs,
)
from serving.errors import ModelError, OutOfMemory, StartError
from serving.latents.sources import RowSource, row_inputs
from serving.model.determinism import (
    BatchingMode,
    GoldenReport,
    Unrounded,
    agrees,
    check_varied,
    compare_goldens,
    find_batching_mode,
    probe_outputs,
)
from serving.model.files import read_file
from serving.model.inspection import open_inspection
from serving.model.interface import check_interface
from serving.model.memory import available_memory, is_out_of_memory, limited_memory
from serving.model.onnx_file import read_contents
from serving.model.runtime import Session, open_session, release_memory, resolve_provider, runtime_of
from serving.model.signatures import Trust, trust_of
from serving.settings import Settings

MAX_FILE_BYTES = 2**31 - 1
LONGEST_REASON = 1000
"""Characters of a refusal, at most: the names in a file may have any length, and a refusal is a line of the log."""


@dataclass(frozen=True, kw_only=True)
class ModelFacts:
    """What the checks of loading have found about a generator."""

    card: Card
    digest: str
    """SHA-256 of the file, the model's version."""
    provider: Device
    runtime: str
    """Runtime class; see ``contract.runtime_class``."""
    batching: BatchingMode
    """How rows are batched so that no row depends on its neighbours."""
    goldens: GoldenReport
    """How latents and outputs here compare with the exporter's."""
    fingerprint: str
    """Hash of outputs computed here; it differs between machines whose outputs differ in a bit."""
    parameters: dict[str, Parameter]
    """Query parameters that the latents give."""
    admit: Callable[[], None] | None = None
    """Stores the serial of a signed model; called by ``enter_service``, also in another process than the one that loaded it."""

    def enter_service(self, path: Path) -> None:
        """Store the serial of a signed model, which no other file hinders any longer from being served.

        Raises:
            ModelError: a model with a higher serial has entered service since, or the serial cannot be stored.
        """
        try:
            if self.admit:
                self.admit()
        except ModelError as error:
            raise ModelError(f"{path}: {error}") from None

    @property
    def needs_picture(self) -> bool:
        """Whether no sample can be made from a seed alone."""
        return self.card.picture is not None and not self.card.picture.is_optional


@dataclass(frozen=True, kw_only=True)
class Model(ModelFacts):
    """A generator that has passed the checks of loading, with its sessions."""

    session: Session
    idle_session: Session | None = None
    """A session of more threads that gives the same bytes, for idle cores; None if more threads change a bit."""

    def run(self, inputs: Inputs, *, on_idle_cores: bool = False) -> Array:
        """The outputs of the graph's inputs, one row each; ``on_idle_cores`` by more threads if there is a session for them.

        Raises:
            NonFinite: a row is NaN or infinite before it is rounded.
            OutOfMemory: there is too little memory, also for runs of half the rows where their number is free.
        """
        session, mode = self.session, self.batching
        if on_idle_cores and self.idle_session:
            session, mode = self.idle_session, mode.for_idle_cores()
        for allowed in (mode, mode.halved(len(next(iter(inputs.values()))))):
            try:
                if allowed:
                    return allowed.run(session, inputs)
            except Exception as error:
                if not is_out_of_memory(error):
                    raise
        raise OutOfMemory()

    def sample(
        self, sources: Sequence[RowSource], overrides: Sequence[Overrides] = (), *, on_idle_cores: bool = False
    ) -> Array:
        """The outputs of any row sources, one row each; see ``run``."""
        inputs = row_inputs(self.card.latents, self.card.picture, sources, overrides)
        return self.run(inputs, on_idle_cores=on_idle_cores)


def model_loader(settings: Settings) -> Callable[..., Model]:
    """Return ``load_model`` by the settings, for this process.

    Raises:
        ProviderError: the device cannot be used.
        SettingError: the keys cannot be used.
    """
    return partial(
        load_model,
        provider=resolve_provider(settings.provider),
        intra_op_threads=settings.intra_op_threads,
        idle_threads=settings.idle_threads,
        max_batch=settings.max_batch,
        trust=trust_of(settings),
    )


def load_model(
    path: Path,
    provider: Device,
    *,
    intra_op_threads: int = 1,
    idle_threads: int = 1,
    max_batch: int = 64,
    trust: Trust | None = None,
    digest: str | None = None,
) -> Model:
    """Load a model file.

    Args:
        path: the file.
        provider: device.
        intra_op_threads: threads of one inference.
        idle_threads: threads of an inference on the CPU while the cores are idle, if more; see ``Model.idle_session``.
        max_batch: rows of the largest batch.
        trust: with it, the file is refused if it is not signed, or older than one that has entered service.
        digest: SHA-256 of bytes that were trusted before: other bytes are refused, and these need no signature.

    Raises:
        ModelError: the file, its signature, its card or its outputs are refused; the message names the file.
        ProviderError: the device cannot be used.
    """
    try:
        with _loading(provider):
            data = read_file(path, MAX_FILE_BYTES)
            if digest and hashlib.sha256(data).hexdigest() != digest:
                raise ModelError(f"the file has other bytes than those with SHA-256 {digest[:12]}...")
            statement = trust.check(path, data) if trust and not digest else None
            model = model_from_bytes(
                data, provider, intra_op_threads=intra_op_threads, idle_threads=idle_threads, max_batch=max_batch
            )
        if trust and statement:
            statement.check_name(model.card.name)
            model = replace(model, admit=partial(trust.admit, statement))
        del data
        if provider == "cpu":
            sessions = [session for session in (model.session, model.idle_session) if session]
            row = np.empty((1, *model.card.output.shape), model.card.output.dtype)
            release_memory(sessions, probe_inputs(model.card.latents, model.card.picture, [0]), row)
        return model
    except ModelError as error:
        raise type(error)(f"{path}: {str(error)[:LONGEST_REASON]}") from None


def model_from_bytes(
    data: bytes,
    provider: Device,
    *,
    intra_op_threads: int = 1,
    idle_threads: int = 1,
    max_batch: int = 64,
) -> Model:
    """Load a model from the bytes of a file; see ``load_model``."""
    digest = hashlib.sha256(data).hexdigest()
    contents = read_contents(data)
    if contents.has_external_data:
        raise ModelError("weights are in another file; a model must be one file")
    card = _card(contents.metadata)
    with _loading(provider):
        inspection = open_inspection(data)
        if provider == "cpu":
            inspection.check_memory(max_batch)
        guarded, unrounded = data + inspection.guard(card), inspection.unrounded(card)
        session = open_session(guarded, provider, intra_op_threads)
        check_interface(session, card)
        inspection.check_rounded(card)
        most = inspection.most_rows()
        del inspection  # which holds the weights once more
        floats = Unrounded(open_session(guarded + unrounded, provider, intra_op_threads)) if unrounded else None
        batching = find_batching_mode(session, card, max_batch, provider, most, floats)
        idle_session = None
        if provider == "cpu" and idle_threads > intra_op_threads:
            idle_session = open_session(guarded, provider, idle_threads, for_idle_cores=True)
            pairs: list[tuple[Session, Session]] = [(session, idle_session)]
            if floats:
                others = open_session(guarded + unrounded, provider, idle_threads, for_idle_cores=True)
                pairs.append((floats, Unrounded(others)))
                del others
            if not all(agrees(one, other, batching, card, max_batch) for one, other in pairs):
                idle_session = None
            del pairs
        del guarded, floats
        probes = probe_outputs(session, batching, card)
        check_varied(probes, card)
        return Model(
            card=card,
            digest=digest,
            provider=provider,
            runtime=runtime_of(provider),
            session=session,
            batching=batching,
            goldens=compare_goldens(session, batching, card, runtime_of(provider)),
            fingerprint=_fingerprint(probes, digest, provider),
            parameters=parameters(card.latents),
            idle_session=idle_session,
        )


@contextmanager
def _loading(provider: Device) -> Iterator[None]:
    """Limit the memory that loading a model takes, and give its errors one type; a GPU's memory has its own limit.

    Raises:
        StartError: something in the block failed.
    """
    try:
        with limited_memory(available_memory()) if provider == "cpu" else nullcontext():
            yield
    except StartError:
        raise
    except Exception as error:  # onnxruntime's exceptions share no base class
        line = next(iter(str(error).strip().splitlines()), type(error).__name__)
        if is_out_of_memory(error):
            raise ModelError(f"the model needs more memory than is available: {line[-100:]}") from None
        raise ModelError(f"the model does not run: {line[:300]}") from None


def _card(metadata: dict[str, str]) -> Card:
    try:
        card = card_from_metadata(metadata)
        check_names(card)
    except CardError as error:
        raise ModelError(str(error)) from None
    return card


def _fingerprint(probes: Array, digest: str, provider: Device) -> str:
    hashed = hashlib.sha256(f"{digest}\n{runtime_of(provider)}\n".encode())
    hashed.update(np.ascontiguousarray(probes).tobytes())
    return hashed.hexdigest()
