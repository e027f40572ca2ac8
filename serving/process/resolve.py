"""Settings that depend on the machine: where the models run, in which engine, and by how many workers."""

from __future__ import annotations

import multiprocessing
import os
import platform
from contextlib import suppress
from dataclasses import replace
from multiprocessing.connection import Connection, wait

from contract.cores import usable_cores
from serving.errors import ResourceError, SettingError, StartError
from serving.process.children import leave_group, start_child
from serving.process.supervisor import signal_name
from serving.settings import Engine, Provider, Settings

PROCESSORS = frozenset({"x86_64", "AMD64"})
"""Machines (``platform.machine``) whose processors show the stores of one process to others in their order."""


class Stopped(Exception):
    """A signal, by its name, stopped the service before it began."""


def resolve(settings: Settings, signals: int) -> Settings:
    """Replace ``provider=auto``, ``engine=None`` and ``workers=None`` by what suits this machine.

    Raises:
        ProviderError: CUDA was requested and cannot be used.
        SettingError: the shared engine was requested and cannot be used.
        ResourceError: the machine could not be examined.
        Stopped: a signal has arrived meanwhile.
    """
    provider = settings.provider if settings.provider == "cpu" else _ask_for_provider(settings.provider, signals)
    engine = choose_engine(settings.engine, provider, platform.machine())
    cores = usable_cores()
    workers = cores if provider != "cuda" else max(1, cores - 1) if engine == "shared" else 1
    return replace(settings, provider=provider, engine=engine, workers=settings.workers or workers)


def choose_engine(asked: Engine | None, provider: Provider, machine: str) -> Engine:
    """The engine to use: the one that was asked for, else the shared one on CUDA where the processor allows it.

    Raises:
        SettingError: the shared engine was asked for, and processes cannot meet without locks on this machine's processor.
    """
    if asked == "shared" and machine not in PROCESSORS:
        raise SettingError(f"GAN_ENGINE must be worker on {machine}, got 'shared'")
    return asked or ("shared" if provider == "cuda" and machine in PROCESSORS else "worker")


def _ask_for_provider(provider: Provider, signals: int) -> Provider:
    """Resolve a provider in a child process, since the launcher must hold no CUDA context and no onnxruntime."""
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    with receiver:
        child = start_child(context, _find_provider, provider, sender)
        sender.close()
        ready = wait([receiver, signals])
        if signals in ready:
            child.kill()
        try:
            answer: Provider | StartError = receiver.recv()
        except EOFError:
            child.join()
            ready += wait([signals], 1)  # a signal to the process group may have ended the helper first
            answer = ResourceError(f"looking for a GPU ended with exit code {child.exitcode}")
        child.join()
    if signals in ready:
        raise Stopped(signal_name(os.read(signals, 1)[0]))
    if isinstance(answer, StartError):
        raise answer
    return answer


def _find_provider(provider: Provider, sender: Connection) -> None:
    leave_group()
    from serving.model.runtime import resolve_provider

    answer: Provider | StartError
    try:
        answer = resolve_provider(provider)
    except StartError as error:
        answer = error
    with suppress(OSError):  # the launcher was killed
        sender.send(answer)
