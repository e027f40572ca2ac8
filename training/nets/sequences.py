"""Nets of sequences of tokens: SeqGAN's generator, an LSTM, and its discriminator, convolutions over the embedded text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from training.game.step import DiscriminatorOutput
from training.nets.layers import Dropout

State = tuple[Tensor, Tensor]
"""Hidden state and cell, float32 [N,hidden] each."""


class SequenceGenerator(nn.Module):
    """An LSTM over tokens that follow the start token 0; a uniform number picks each by the inverse of its distribution."""

    def __init__(self, vocabulary: int, length: int, *, width: int = 32, sd: float = 0.1) -> None:
        """Args:
        vocabulary: number of different tokens.
        length: tokens of a sequence.
        width: size of the embedding and of the state.
        sd: standard deviation of every initial weight, biases too.
        """
        super().__init__()
        self.length = length
        self.width = width
        self.embedding = nn.Embedding(vocabulary, width)
        self.gates = nn.Linear(2 * width, 4 * width)
        self.output = nn.Linear(width, vocabulary)
        for parameter in self.parameters():
            nn.init.normal_(parameter, 0, sd)

    def forward(self, u: Tensor) -> Tensor:
        """Sequences int64 [N,length] from uniform numbers [N,length] of 0..1, one for each token."""
        state, token, picked = self.start(u.shape[0], u.device), u.new_zeros(u.shape[0], dtype=torch.int64), []
        for place in range(self.length):
            state = self.step(token, state)
            token = pick(self.output(state[0]).double(), u[:, place])  # in float32 two libraries' sums of 5,000 differ
            picked.append(token)
        return torch.stack(picked, 1)

    def log_likelihood(self, tokens: Tensor) -> Tensor:
        """Log-probability of each token given those before it, [N,length]."""
        state, before, hidden = self.start(len(tokens), tokens.device), torch.zeros_like(tokens[:, 0]), []
        for place in range(tokens.shape[1]):
            state = self.step(before, state)
            before = tokens[:, place]
            hidden.append(state[0])
        logits = self.output(torch.stack(hidden, 1))
        return -F.cross_entropy(logits.flatten(0, 1), tokens.flatten(), reduction="none").view_as(tokens)

    def start(self, count: int, device: torch.device) -> State:
        """The state before the start token."""
        zeros = torch.zeros(count, self.width, device=device)
        return zeros, zeros

    def step(self, token: Tensor, state: State) -> State:
        """The state after a token, int64 [N]."""
        hidden, cell = state
        gates = self.gates(torch.cat([self.embedding(token), hidden], 1))
        enter, forget, leave, candidate = gates.chunk(4, 1)
        cell = forget.sigmoid() * cell + enter.sigmoid() * candidate.tanh()
        return leave.sigmoid() * cell.tanh(), cell


def pick(logits: Tensor, uniforms: Tensor) -> Tensor:
    """The token of each row at which the cumulative distribution [N,V] reaches a uniform number [N]; int64 [N]."""
    cumulative = logits.softmax(1).cumsum(1)
    return (cumulative < uniforms[:, None] * cumulative[:, -1:]).sum(1)


@torch.no_grad()
def roll_out(policy: SequenceGenerator, tokens: Tensor, copies: int) -> Tensor:
    """Each proper prefix of each sequence completed ``copies`` times by the policy, in one batched decode.

    Prefixes of one token start to grow first; longer ones join the batch as it reaches them.

    Returns:
        int64 [length - 1, N * copies, length]: by the length of the prefix, a sequence's copies ``N`` rows apart.
    """
    count, length = tokens.shape
    completed = tokens.repeat(copies, 1).expand(length - 1, -1, -1).clone()
    hidden = torch.empty(length - 1, count * copies, policy.width, device=tokens.device)
    cell = torch.empty_like(hidden)
    prefix = policy.step(torch.zeros_like(tokens[:, 0]), policy.start(count, tokens.device))
    for place in range(1, length):
        prefix = policy.step(tokens[:, place - 1], prefix)
        hidden[place - 1], cell[place - 1] = prefix[0].repeat(copies, 1), prefix[1].repeat(copies, 1)
        growing = (hidden[:place].flatten(0, 1), cell[:place].flatten(0, 1))
        token = pick(policy.output(growing[0]), torch.rand(len(growing[0]), device=tokens.device))
        completed[:place, :, place] = token.view(place, -1)
        if place < length - 1:
            after = policy.step(token, growing)
            hidden[:place], cell[:place] = (part.view(place, -1, policy.width) for part in after)
    return completed


class SequenceDiscriminator(nn.Module):
    """Convolutions of several widths over embedded tokens, pooled over the sequence, one highway layer, dropout, one logit."""

    def __init__(self, vocabulary: int, filters: Mapping[int, int], *, width: int = 64, dropout: float = 0.25) -> None:
        """Args:
        vocabulary: number of different tokens.
        filters: number of filters by their width in tokens.
        width: size of the embedding.
        dropout: share of the features that training drops.
        """
        super().__init__()
        self.embedding = nn.Embedding(vocabulary, width)
        self.convolutions = nn.ModuleList(nn.Conv1d(width, count, span) for span, count in filters.items())
        features = sum(filters.values())
        self.transform, self.gate = nn.Linear(features, features), nn.Linear(features, features)
        self.dropout = Dropout(dropout)
        self.last = nn.Linear(features, 1)
        nn.init.uniform_(self.embedding.weight, -1, 1)
        for layer in (self.transform, self.gate):
            nn.init.xavier_uniform_(layer.weight)
            nn.init.zeros_(layer.bias)
        for layer in (*self.convolutions, self.last):
            nn.init.trunc_normal_(layer.weight, std=0.1, a=-0.2, b=0.2)
            nn.init.constant_(layer.bias, 0.1)

    def forward(self, x: Tensor) -> DiscriminatorOutput:
        """The output on sequences int64 [N,t]."""
        features = self.dropout(self.features(x))
        return DiscriminatorOutput(self.last(features).squeeze(1), features)

    def features(self, x: Tensor) -> Tensor:
        """What the last layer sees of sequences, before dropout."""
        embedded = self.embedding(x).transpose(1, 2)
        pooled = torch.cat([F.relu(convolution(embedded)).amax(2) for convolution in self.convolutions], 1)
        gate = self.gate(pooled).sigmoid()
        return torch.lerp(pooled, F.relu(self.transform(pooled)), gate)

    @torch.no_grad()
    def probability(self, x: Tensor, rows: int = 4_096) -> Tensor:
        """The probability that sequences are real, without dropout, computed ``rows`` at a time."""
        return torch.cat([self.last(self.features(part)).squeeze(1).sigmoid() for part in x.split(rows)])


def filters_within(length: int, filters: Sequence[tuple[int, int]]) -> dict[int, int]:
    """The filters, as width and number, that are no wider than a sequence."""
    return {span: count for span, count in filters if span <= length}
