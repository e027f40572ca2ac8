"""Sequences of tokens drawn from a fixed random LSTM, so that the likelihood of any sequence is known (SeqGAN, section 5.1)."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.random import RandomState
from numpy.typing import NDArray

from training.data.dataset import DataSet, Request

Floats = NDArray[np.float64]
Tokens = NDArray[np.int64]

HIDDEN = 32
"""Width of the embedding and of the state."""
SEQUENCES = 10_000
"""Sequences of each part."""
SEEDS = {"train": 1, "test": 2}
"""Seed of the draws of each part."""
ROWS = 1_000
"""Sequences computed at a time."""


@dataclass(frozen=True, kw_only=True)
class Oracle:
    """An LSTM whose weights are all N(0, 1) by a fixed seed, over sequences that follow the start token 0.

    It computes in float64, so that the same sequences are drawn on every machine.
    """

    name: str
    """Name of the data set drawn from it."""
    vocabulary: int
    length: int
    seed: int = 66
    """Seed of its weights."""
    _weights: dict[str, Floats] = field(default_factory=dict, init=False, repr=False, compare=False)

    def draw(self, random: RandomState, count: int) -> Tokens:
        """``count`` sequences, int64 [count,length]."""
        uniforms = random.random_sample((count, self.length))
        return np.concatenate([self._draw(uniforms[start : start + ROWS]) for start in range(0, count, ROWS)])

    def nll(self, sequences: Tokens) -> Floats:
        """The negative log-likelihood of each sequence in nats a token, float64 [N]."""
        return np.concatenate([self._nll(sequences[start : start + ROWS]) for start in range(0, len(sequences), ROWS)])

    def _draw(self, uniforms: Floats) -> Tokens:
        state, token, drawn = self._start(len(uniforms)), np.zeros(len(uniforms), np.int64), np.empty(uniforms.shape, np.int64)
        for place in range(self.length):
            state = self._step(token, state)
            cumulative = np.exp(self._logits(state)).cumsum(1)
            token = (cumulative < uniforms[:, place, None] * cumulative[:, -1:]).sum(1)
            drawn[:, place] = token
        return drawn

    def _nll(self, sequences: Tokens) -> Floats:
        state, token, total = self._start(len(sequences)), np.zeros(len(sequences), np.int64), np.zeros(len(sequences))
        for place in range(self.length):
            state = self._step(token, state)
            token = sequences[:, place]
            logits = self._logits(state)
            total += np.log(np.exp(logits).sum(1)) - logits[np.arange(len(token)), token]
        return total / self.length

    def _start(self, count: int) -> tuple[Floats, Floats]:
        if not self._weights:
            random = RandomState(self.seed)
            shapes = {
                "embedding": (self.vocabulary, HIDDEN),
                "gates": (2 * HIDDEN, 4 * HIDDEN),
                "gates_bias": (4 * HIDDEN,),
                "output": (HIDDEN, self.vocabulary),
                "output_bias": (self.vocabulary,),
            }
            self._weights.update({name: random.standard_normal(shape) for name, shape in shapes.items()})
        return np.zeros((count, HIDDEN)), np.zeros((count, HIDDEN))

    def _step(self, token: Tokens, state: tuple[Floats, Floats]) -> tuple[Floats, Floats]:
        hidden, cell = state
        inputs = np.concatenate([self._weights["embedding"][token], hidden], 1)
        enter, forget, leave, candidate = np.split(inputs @ self._weights["gates"] + self._weights["gates_bias"], 4, 1)
        cell = _sigmoid(forget) * cell + _sigmoid(enter) * np.tanh(candidate)
        return _sigmoid(leave) * np.tanh(cell), cell

    def _logits(self, state: tuple[Floats, Floats]) -> Floats:
        logits = state[0] @ self._weights["output"] + self._weights["output_bias"]
        return np.asarray(logits - logits.max(1, keepdims=True))


def _sigmoid(x: Floats) -> Floats:
    return np.asarray(1 / (1 + np.exp(-x)))


ORACLE = Oracle(name="oracle", vocabulary=5_000, length=20)
ORACLE_SMALL = Oracle(name="oracle-small", vocabulary=50, length=10)
ORACLES = {oracle.name: oracle for oracle in (ORACLE, ORACLE_SMALL)}
"""The oracles by the name of their data set."""


def load_oracle(oracle: Oracle, request: Request) -> DataSet:
    """10,000 sequences of the oracle, others to train on than to test on."""
    sequences = oracle.draw(RandomState(SEEDS[request.split]), SEQUENCES)
    return DataSet(
        name=oracle.name,
        items=torch.from_numpy(sequences),
        labels=None,
        classes=(),
        licence="none: computed",
        region=None,
        vocabulary=oracle.vocabulary,
    )
