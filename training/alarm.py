"""The collapse alarm: a sentence when the samples have lost their variety."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from numpy.typing import NDArray

Alarm = Callable[[NDArray[Any]], str | None]


def alarm_for(data: Any, setting: Any) -> Alarm:
    return lambda samples: None
