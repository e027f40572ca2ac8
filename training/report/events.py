"""The TensorBoard events of a run: one file, cut back to a step when the run is resumed."""

from __future__ import annotations

import os
import struct
from collections.abc import Mapping
from pathlib import Path

from google.protobuf.message import DecodeError
from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.compat.tensorflow_stub.pywrap_tensorflow import masked_crc32c
from tensorboard.summary.writer.record_writer import RecordWriter

from training.files import naming

FILE_NAME = "events.out.tfevents"
"""TensorBoard takes any file with ``tfevents`` in its name; this one names neither a machine nor a process."""
HEAD = 12
"""Bytes of a record before its event."""


class Events:
    """Writes scalars and images where ``tensorboard --logdir`` finds them.

    torch's SummaryWriter starts a further file at each resume and keeps the events that the resumed run repeats.
    """

    def __init__(self, run: Path, *, last_step: int) -> None:
        """Keeps the events of ``run`` up to ``last_step`` and makes the file if there is none."""
        self._path = run / FILE_NAME
        size = _size_until(self._path, last_step)
        self._path.touch()
        os.truncate(self._path, size)
        if size == 0:
            self._append(Event(file_version="brain.Event:2"))

    def scalars(self, step: int, wall_time_s: float, scalars: Mapping[str, float]) -> None:
        values = [Summary.Value(tag=name, simple_value=value) for name, value in scalars.items()]
        self._write(step, wall_time_s, values)

    def image(self, step: int, wall_time_s: float, tag: str, size: tuple[int, int], encoded: bytes) -> None:
        """Appends a PNG or JPEG of ``size`` (width, height)."""
        image = Summary.Image(width=size[0], height=size[1], encoded_image_string=encoded)
        self._write(step, wall_time_s, [Summary.Value(tag=tag, image=image)])

    def _write(self, step: int, wall_time_s: float, values: list[Summary.Value]) -> None:
        self._append(Event(step=step, wall_time=wall_time_s, summary=Summary(value=values)))

    def _append(self, event: Event) -> None:
        with naming(self._path), self._path.open("ab") as file:
            RecordWriter(file).write(event.SerializeToString())


def _size_until(path: Path, last_step: int) -> int:
    """Bytes of ``path`` before the first event that is torn, damaged or past ``last_step``; one event is read at a time.

    A record is its length (uint64), the length's checksum, the event and the event's checksum (uint32 each).
    """
    if not path.exists():
        return 0
    start, whole = 0, path.stat().st_size
    with path.open("rb") as file:
        while start + HEAD <= whole:
            head = file.read(HEAD)
            length, checksum = struct.unpack("<QI", head)
            end = start + HEAD + length + 4
            if checksum != masked_crc32c(head[:8]) or end > whole:
                break
            try:
                event = Event.FromString(file.read(length + 4)[:-4])
            except DecodeError:
                break
            if event.step > last_step:
                break
            start = end
    return start
