"""The promise of contract.sampling once more, in plain Python integers and floats, slow and without NumPy.

``python -m tests.contract.reference`` prints golden.json, with the argument ``pictures`` golden_pictures.json. Both files are a
promise to every model ever exported: when a test says that it no longer holds, the code is wrong, not the file.
"""

from __future__ import annotations

import json
import math
import struct
import sys
from collections.abc import Sequence

MASK = 2**64 - 1
GOLDEN_SEEDS = (0, 1, 2, 3, 7, 42, 1000, 65535, 65536, 2**24, 123456789, 2**31 - 1, 2**31, 3141592653, 2**32 - 2, 2**32 - 1)


def philox_block(counter: int, key: int, upper_key: int = 0) -> tuple[int, int, int, int]:
    """Philox4x64-10 (Salmon et al., SC 2011, section 3.3) of a 256-bit counter whose upper words are 0."""
    c0, c1, c2, c3 = counter, 0, 0, 0
    k0, k1 = key, upper_key
    for _ in range(10):
        p0, p1 = c0 * 0xD2E7470EE14C6C93, c2 * 0xCA5A826395121157
        c0, c1, c2, c3 = (p1 >> 64) ^ c1 ^ k0, p1 & MASK, (p0 >> 64) ^ c3 ^ k1, p0 & MASK
        k0, k1 = (k0 + 0x9E3779B97F4A7C15) & MASK, (k1 + 0xBB67AE8584CAA73B) & MASK
    return c0, c1, c2, c3


def stream(seed: int, count: int) -> list[int]:
    """The first words of a seed's stream: NumPy counts before it computes, so the first block's counter is 1."""
    return [word for block in range(1, -(-count // 4) + 1) for word in philox_block(block, seed)][:count]


def picture(seed: int, size: int) -> list[int]:
    """The probe picture of a seed, its values in row-major order: the bytes of the words, the lowest byte first."""
    words = [word for block in range(1, -(-size // 32) + 1) for word in philox_block(block, seed, 1)]
    return [word >> shift & 255 for word in words for shift in range(0, 64, 8)][:size]


def float32(x: float) -> float:
    return float(struct.unpack("<f", struct.pack("<f", x))[0])


def unit(word: int) -> float:
    return ((word >> 12) + 0.5) / 2.0**52


def uniform(word: int, low: float, high: float) -> float:
    return float32(low + (high - low) * unit(word))


def categorical(word: int, classes: int) -> int:
    return (word >> 32) * classes >> 32


def normal(word: int) -> float:
    """AS 241, PPND16 (Wichura 1988); the coefficients lowest power first, as the paper prints them."""
    u = unit(word)
    q = u - 0.5
    if abs(q) <= 0.425:
        r = 0.180625 - q * q
        return float32(q * polynomial(A, r) / polynomial(B, r))
    r = math.sqrt(-log(min(u, 1.0 - u)))
    x = polynomial(C, r - 1.6) / polynomial(D, r - 1.6) if r <= 5.0 else polynomial(E, r - 5.0) / polynomial(F, r - 5.0)
    return float32(-x if u < 0.5 else x)


def log(x: float) -> float:
    m, e = math.frexp(x)
    if m < 0.7071067811865476:
        m, e = m * 2.0, e - 1
    f = (m - 1.0) / (m + 1.0)
    return e * 0.6931471805599453 + 2.0 * f * polynomial([1.0 / k for k in range(1, 24, 2)], f * f)


def polynomial(coefficients: Sequence[float], x: float) -> float:
    value = coefficients[-1]
    for coefficient in reversed(coefficients[:-1]):
        value = value * x + coefficient
    return value


A = [
    3.3871328727963666080e0,
    1.3314166789178437745e2,
    1.9715909503065514427e3,
    1.3731693765509461125e4,
    4.5921953931549871457e4,
    6.7265770927008700853e4,
    3.3430575583588128105e4,
    2.5090809287301226727e3,
]
B = [
    1.0,
    4.2313330701600911252e1,
    6.8718700749205790830e2,
    5.3941960214247511077e3,
    2.1213794301586595867e4,
    3.9307895800092710610e4,
    2.8729085735721942674e4,
    5.2264952788528545610e3,
]
C = [
    1.42343711074968357734e0,
    4.63033784615654529590e0,
    5.76949722146069140550e0,
    3.64784832476320460504e0,
    1.27045825245236838258e0,
    2.41780725177450611770e-1,
    2.27238449892691845833e-2,
    7.74545014278341407640e-4,
]
D = [
    1.0,
    2.05319162663775882187e0,
    1.67638483018380384940e0,
    6.89767334985100004550e-1,
    1.48103976427480074590e-1,
    1.51986665636164571966e-2,
    5.47593808499534494600e-4,
    1.05075007164441684324e-9,
]
E = [
    6.65790464350110377720e0,
    5.46378491116411436990e0,
    1.78482653991729133580e0,
    2.96560571828504891230e-1,
    2.65321895265761230930e-2,
    1.24266094738807843860e-3,
    2.71155556874348757815e-5,
    2.01033439929228813265e-7,
]
F = [
    1.0,
    5.99832206555887937690e-1,
    1.36929880922735805310e-1,
    1.48753612908506148525e-2,
    7.86869131145613259100e-4,
    1.84631831751005468180e-5,
    1.42151175831644588870e-7,
    2.04426310338993978564e-15,
]


def golden(seed: int) -> dict[str, object]:
    """One entry of golden.json: the latents {"z": Normal(5), "y": Categorical(10), "c": Uniform(2)} of a seed."""
    words = stream(seed, 8)
    return {
        "seed": seed,
        "words": [f"{word:016x}" for word in words],
        "z": [normal(word).hex() for word in words[:5]],
        "y": categorical(words[5], 10),
        "c": [uniform(word, -1.0, 1.0).hex() for word in words[6:]],
    }


def golden_picture(seed: int) -> dict[str, object]:
    """One entry of golden_pictures.json: the probe picture of a seed, 3 x 5 RGB."""
    return {"seed": seed, "picture": picture(seed, 45)}


if __name__ == "__main__":
    make = golden_picture if sys.argv[1:] == ["pictures"] else golden
    print("[\n" + ",\n".join(json.dumps(make(seed)) for seed in GOLDEN_SEEDS) + "\n]")
