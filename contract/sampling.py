"""Draw latents from a seed: the same numbers on every machine and in every release.

Each seed owns one counter-based stream, the raw 64-bit words of ``numpy.random.Philox(key=seed)`` (Salmon et al., SC 2011;
NumPy guarantees the bit stream of a BitGenerator, not the distributions of a Generator). The latents take words from it in
declared order. The transforms below are ours and frozen: they use only the float64 operations that IEEE 754 rounds exactly
(+ - * / sqrt) and integer arithmetic, so that no library's or processor's version of log or cos can change a bit. The result
is rounded once, to float32. A row depends only on its seed and its overrides, never on its neighbours.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from contract.errors import DrawError
from contract.latents import Categorical, Latent, Latents, Normal, Uniform, parameters, words

MAX_SEED = 2**32 - 1
CHUNK_WORDS = 2**15
"""Words that are transformed at a time, at most: the intermediate results of each take some 50 bytes."""

Drawn = dict[str, NDArray[np.float32] | NDArray[np.int64]]
Overrides = Mapping[str, float]


def draw(latents: Latents, seeds: Sequence[int], overrides: Sequence[Overrides] = ()) -> Drawn:
    """The latents of each seed, one row a seed; beyond them it needs some MiB of memory, however large they are.

    Args:
        latents: the declaration; it fixes which words of the stream each latent takes.
        seeds: n integers 0..4294967295.
        overrides: empty, or n mappings from parameter name (``y``, ``c0``) to the value that replaces the drawn one. No other
            component changes.

    Returns:
        By latent name: float32 [n, size], or int64 [n] for a categorical one.

    Raises:
        DrawError: a seed or an override is out of range, or no such parameter is declared.
    """
    count = sum(map(words, latents.values()))
    drawn = (
        _draw_at_once(latents, seeds, count) if len(seeds) * count <= CHUNK_WORDS else _draw_in_chunks(latents, seeds, count)
    )
    if len(overrides) not in (0, len(seeds)):
        raise DrawError(f"overrides must have {len(seeds)} rows, got {len(overrides)}")
    if any(overrides):
        _replace(drawn, latents, overrides)
    return drawn


def _draw_at_once(latents: Latents, seeds: Sequence[int], count: int) -> Drawn:
    """The latents of each seed, which take ``count`` words of its stream."""
    raw = raw_words(seeds, count)
    drawn: Drawn = {}
    start = 0
    for name, latent in latents.items():
        stop = start + words(latent)
        drawn[name] = _transform(latent, raw[:, start:stop])
        start = stop
    return drawn


def _draw_in_chunks(latents: Latents, seeds: Sequence[int], count: int) -> Drawn:
    """The same, from ``CHUNK_WORDS`` words at a time: of several rows, or of a part of one."""
    drawn = {name: _empty(latent, len(seeds)) for name, latent in latents.items()}
    rows = CHUNK_WORDS // count
    for first in range(0, len(seeds), rows or 1):
        if rows:
            for name, values in _draw_at_once(latents, seeds[first : first + rows], count).items():
                drawn[name][first : first + rows] = values
        else:
            _draw_long_row(drawn, first, latents, seeds[first])
    return drawn


def _empty(latent: Latent, rows: int) -> NDArray[np.float32] | NDArray[np.int64]:
    return np.empty(rows, np.int64) if isinstance(latent, Categorical) else np.empty((rows, latent.size), np.float32)


def _draw_long_row(drawn: Drawn, row: int, latents: Latents, seed: int) -> None:
    """Draw one row from parts of its stream, which follow each other in the latents' order."""
    _STREAM.first(seed, 0)
    for name, latent in latents.items():
        values, size = drawn[name][row : row + 1], words(latent)
        for start in range(0, size, CHUNK_WORDS):
            part = _STREAM.next(min(CHUNK_WORDS, size - start))
            into = values if isinstance(latent, Categorical) else values[:, start : start + CHUNK_WORDS]
            into[:] = _transform(latent, part[np.newaxis])


def raw_words(seeds: Sequence[int], count: int) -> NDArray[np.uint64]:
    """The first ``count`` words of each seed's stream, uint64 [n, count]."""
    raw = np.empty((len(seeds), count), np.uint64)
    for row, seed in zip(raw, seeds, strict=True):
        row[:] = _STREAM.first(seed, count)
    return raw


class _Stream(threading.local):
    """One Philox per thread, set back to the start of a seed's stream: 1.5 us, where a new object costs 9."""

    def __init__(self) -> None:
        self._generator = np.random.Philox(key=0)
        self._start = self._generator.state

    def first(self, seed: int, count: int) -> NDArray[np.uint64]:
        """The first words of a seed's stream."""
        if not 0 <= seed <= MAX_SEED or seed != int(seed):
            raise DrawError(f"seed must be 0..{MAX_SEED}, got {seed!r}")
        self._start["state"]["key"][0] = seed
        self._generator.state = self._start
        return self._generator.random_raw(count)

    def next(self, count: int) -> NDArray[np.uint64]:
        """The words that follow."""
        return self._generator.random_raw(count)


_STREAM = _Stream()


def _transform(latent: Latent, raw: NDArray[np.uint64]) -> NDArray[np.float32] | NDArray[np.int64]:
    match latent:
        case Categorical(classes):
            return categorical(raw[:, 0], classes)
        case Uniform(_, low, high):
            return uniform(raw, low, high)
        case Normal():
            return normal(raw)


def unit(raw: NDArray[np.uint64]) -> NDArray[np.float64]:
    """The upper 52 bits k of each word as (k + 1/2) / 2**52: exact, inside (0, 1), and 1 - u is exact too."""
    return ((raw >> np.uint64(12)).astype(np.float64) + 0.5) * 2.0**-52


def uniform(raw: NDArray[np.uint64], low: float, high: float) -> NDArray[np.float32]:
    """Uniform between ``low`` and ``high``, both as float64, rounded to float32."""
    return (low + (high - low) * unit(raw)).astype(np.float32)


def categorical(raw: NDArray[np.uint64], classes: int) -> NDArray[np.int64]:
    """The upper 32 bits k of each word as k * classes >> 32 (Lemire, arXiv:1805.10941, without the rejection step)."""
    return ((raw >> np.uint64(32)) * np.uint64(classes) >> np.uint64(32)).astype(np.int64)


def normal(raw: NDArray[np.uint64]) -> NDArray[np.float32]:
    """Standard normal by the inverse distribution function, algorithm AS 241 (Wichura 1988, doi:10.2307/2347330), PPND16."""
    u = unit(raw)
    q = u - 0.5
    r = 0.180625 - q * q
    x = q * _horner(_A, r) / _horner(_B, r)
    is_tail = np.abs(q) > 0.425
    if is_tail.any():
        x[is_tail] = _normal_tail(u[is_tail])
    return x.astype(np.float32)


def _normal_tail(u: NDArray[np.float64]) -> NDArray[np.float64]:
    r = np.sqrt(-_log(np.minimum(u, 1.0 - u)))
    near, far = r - 1.6, r - 5.0
    magnitude = np.where(r <= 5.0, _horner(_C, near) / _horner(_D, near), _horner(_E, far) / _horner(_F, far))
    return np.where(u < 0.5, -magnitude, magnitude)


def _log(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """Natural logarithm from exactly rounded operations only: x = m 2**e, log m = 2 artanh((m-1)/(m+1)) as a series."""
    mantissa, exponent = np.frexp(x)
    is_low = mantissa < 0.7071067811865476
    mantissa = np.where(is_low, mantissa * 2.0, mantissa)
    exponent = exponent - is_low
    f = (mantissa - 1.0) / (mantissa + 1.0)
    return exponent * 0.6931471805599453 + 2.0 * f * _horner(_ARTANH, f * f)


def _horner(coefficients: tuple[float, ...], x: NDArray[np.float64]) -> NDArray[np.float64]:
    """A polynomial, the highest coefficient first."""
    value = coefficients[0] * x + coefficients[1]
    for coefficient in coefficients[2:]:
        value *= x
        value += coefficient
    return value


def _replace(drawn: Drawn, latents: Latents, overrides: Sequence[Overrides]) -> None:
    declared = parameters(latents)
    for row, values in enumerate(overrides):
        for name, value in values.items():
            if name not in declared:
                raise DrawError(f"no parameter {name!r}; declared are {', '.join(declared) or 'none'}")
            parameter = declared[name]
            if not parameter.low <= value <= parameter.high or (parameter.is_integer and value != int(value)):
                raise DrawError(f"{name} must be {parameter.low:g}..{parameter.high:g}, got {value!r}")
            index = (row,) if parameter.is_integer else (row, parameter.component)
            drawn[parameter.latent][index] = value


_ARTANH = tuple(1.0 / k for k in range(23, 0, -2))

# Wichura's coefficients, highest power first.
_A = (
    2.5090809287301226727e3,
    3.3430575583588128105e4,
    6.7265770927008700853e4,
    4.5921953931549871457e4,
    1.3731693765509461125e4,
    1.9715909503065514427e3,
    1.3314166789178437745e2,
    3.387132872796366608e0,
)
_B = (
    5.226495278852854561e3,
    2.8729085735721942674e4,
    3.930789580009271061e4,
    2.1213794301586595867e4,
    5.3941960214247511077e3,
    6.871870074920579083e2,
    4.2313330701600911252e1,
    1.0,
)
_C = (
    7.7454501427834140764e-4,
    2.27238449892691845833e-2,
    2.4178072517745061177e-1,
    1.27045825245236838258e0,
    3.64784832476320460504e0,
    5.7694972214606914055e0,
    4.6303378461565452959e0,
    1.42343711074968357734e0,
)
_D = (
    1.05075007164441684324e-9,
    5.475938084995344946e-4,
    1.51986665636164571966e-2,
    1.4810397642748007459e-1,
    6.8976733498510000455e-1,
    1.6763848301838038494e0,
    2.05319162663775882187e0,
    1.0,
)
_E = (
    2.01033439929228813265e-7,
    2.71155556874348757815e-5,
    1.2426609473880784386e-3,
    2.6532189526576123093e-2,
    2.9656057182850489123e-1,
    1.7848265399172913358e0,
    5.4637849111641143699e0,
    6.6579046435011037772e0,
)
_F = (
    2.04426310338993978564e-15,
    1.4215117583164458887e-7,
    1.8463183175100546818e-5,
    7.868691311456132591e-4,
    1.48753612908506148525e-2,
    1.3692988092273580531e-1,
    5.9983220655588793769e-1,
    1.0,
)
