"""The inputs of a generator: the recipe declares its latents once, and everything else follows from the declaration.

``{"z": Normal(100), "y": Categorical(10), "c": Uniform(2)}`` drives sampling in training, the inputs of the ONNX graph, the
card inside the model file, and the query parameters of ``/generate``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from contract.errors import CardError

MAX_PARAMETERS = 16
"""A latent with more components than this is noise: it follows the seed alone and has no query parameters."""
MAX_SIZE = 2**22
"""Components of a latent, at most: all noise of a StyleGAN of 1024x1024 pixels in one latent has 2.8 million."""
MAX_CLASSES = 1_000_000
"""Values of a categorical latent, at most."""


@dataclass(frozen=True)
class Normal:
    """Independent standard normal components; an ONNX input ``float32 [n, size]``."""

    kind: ClassVar[str] = "normal"
    size: int


@dataclass(frozen=True)
class Uniform:
    """Independent components, uniform between ``low`` and ``high``; an ONNX input ``float32 [n, size]``."""

    kind: ClassVar[str] = "uniform"
    size: int
    low: float = -1.0
    high: float = 1.0


@dataclass(frozen=True)
class Categorical:
    """One of ``classes`` equally likely values; an ONNX input ``int64 [n]``."""

    kind: ClassVar[str] = "categorical"
    classes: int


Latent = Normal | Uniform | Categorical
Latents = Mapping[str, Latent]


@dataclass(frozen=True)
class Parameter:
    """A query parameter: one component of a latent that a request may fix."""

    name: str
    latent: str
    component: int
    is_integer: bool
    low: float
    """Least value allowed."""
    high: float
    """Greatest value allowed, itself included."""


NORMAL_LIMIT = 8.0
"""A request may fix a normal component within plus or minus this; a draw stays inside it (2**-53 is 8.2 sigma out)."""


def classes_of(latents: Latents) -> int:
    """How many values the label ``y`` has; 0 where there is no label."""
    label = latents.get("y")
    return label.classes if isinstance(label, Categorical) else 0


def limits(latent: Normal | Uniform) -> tuple[float, float]:
    """The least and the greatest value to which a request may fix a component."""
    return (-NORMAL_LIMIT, NORMAL_LIMIT) if isinstance(latent, Normal) else (latent.low, latent.high)


def words(latent: Latent) -> int:
    """The number of 64-bit words of a seed's stream that this latent takes."""
    return 1 if isinstance(latent, Categorical) else latent.size


def parameters(latents: Latents) -> dict[str, Parameter]:
    """The query parameters that a declaration gives, by name, in declared order.

    A categorical ``y`` gives ``y``; a latent ``c`` of one component gives ``c``, of two gives ``c0`` and ``c1``; a latent of
    more than ``MAX_PARAMETERS`` components gives none.
    """
    found: dict[str, Parameter] = {}
    for name, latent in latents.items():
        for parameter in _parameters_of(name, latent):
            if parameter.name in found:
                raise CardError(f"latents: two of them give the parameter {parameter.name!r}")
            found[parameter.name] = parameter
    return found


def _parameters_of(name: str, latent: Latent) -> list[Parameter]:
    if isinstance(latent, Categorical):
        return [Parameter(name, name, 0, True, 0, latent.classes - 1)]
    if latent.size > MAX_PARAMETERS:
        return []
    names = [name] if latent.size == 1 else [f"{name}{i}" for i in range(latent.size)]
    return [Parameter(n, name, i, False, *limits(latent)) for i, n in enumerate(names)]


def latents_to_json(latents: Latents) -> dict[str, dict[str, Any]]:
    """The declaration as plain JSON, in declared order."""
    return {name: {"kind": latent.kind, **vars(latent)} for name, latent in latents.items()}


def latents_from_json(value: Any) -> dict[str, Latent]:
    """The declaration that ``latents_to_json`` wrote.

    Raises:
        CardError: naming the latent and what is wrong with it.
    """
    if not isinstance(value, dict) or not value:
        raise CardError(f"latents must be a non-empty object, got {value!r}")
    return {name: _latent_from_json(name, spec) for name, spec in value.items()}


def _latent_from_json(name: str, spec: Any) -> Latent:
    kinds: dict[str, type[Latent]] = {"normal": Normal, "uniform": Uniform, "categorical": Categorical}
    if not name.isidentifier():
        raise CardError(f"latents: {name!r} is not a name")
    if not isinstance(spec, dict) or str(spec.get("kind")) not in kinds:
        raise CardError(f"latents.{name}.kind must be one of {', '.join(kinds)}, got {spec!r}")
    fields = {key: value for key, value in spec.items() if key != "kind"}
    try:
        latent = kinds[spec["kind"]](**fields)
    except TypeError as error:
        raise CardError(f"latents.{name}: {error}") from None
    _check(name, latent)
    return latent


def _check(name: str, latent: Latent) -> None:
    for field, value in vars(latent).items():
        if field in ("size", "classes"):
            most = MAX_SIZE if field == "size" else MAX_CLASSES
            if type(value) is not int or not 1 <= value <= most:
                raise CardError(f"latents.{name}.{field} must be 1..{most}, got {value!r}")
        elif type(value) not in (int, float) or not abs(value) < 1e30:
            raise CardError(f"latents.{name}.{field} must be a finite number, got {value!r}")
    if isinstance(latent, Uniform) and not latent.low < latent.high:
        raise CardError(f"latents.{name}: low must be less than high, got {latent.low!r} and {latent.high!r}")
