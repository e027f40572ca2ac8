"""SeqGAN's parts against values computed in another way."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

from training.game.optimisers import clipped, sgd
from training.game.step import Batch, DiscriminatorOutput, StepContext
from training.losses.sequences import d_last_l2, draw_more, follow, negative_log_likelihood, policy_gradient
from training.nets.sequences import SequenceDiscriminator, SequenceGenerator, pick, roll_out

VOCABULARY, LENGTH, COUNT = 7, 5, 6


@pytest.fixture
def g() -> SequenceGenerator:
    torch.manual_seed(0)
    return SequenceGenerator(VOCABULARY, LENGTH, width=4, sd=1.0)


class CountsThrees(nn.Module):
    """A discriminator that finds a sequence as real as its share of threes."""

    def forward(self, x: Tensor) -> DiscriminatorOutput:
        return DiscriminatorOutput(self.probability(x).logit(), x.float())

    def probability(self, x: Tensor) -> Tensor:
        return (x == 3).float().mean(1)


def context(g: SequenceGenerator, real: Tensor) -> StepContext:
    nets = {"G": g, "R": copy.deepcopy(g), "D": CountsThrees()}
    return StepContext(nets, Batch(real), {"u": torch.rand(COUNT, LENGTH)}, step=0, moving=frozenset({"G"}))


def test_a_token_is_picked_where_the_cumulative_distribution_reaches_the_number() -> None:
    """Probabilities .25, .5, .25; the ends 0 and 1 are tokens, too."""
    logits = torch.tensor([[0.25, 0.5, 0.25]]).log().expand(6, -1)
    assert pick(logits, torch.tensor([0.0, 0.24, 0.26, 0.74, 0.76, 1.0])).tolist() == [0, 0, 1, 1, 2, 2]


def test_tokens_are_drawn_as_often_as_they_are_likely(g: SequenceGenerator) -> None:
    """Of 20,000 sequences, the share of each first token is its probability."""
    drawn = g(torch.rand(20_000, LENGTH))
    expected = g.log_likelihood(torch.arange(VOCABULARY)[:, None]).exp()[:, 0]
    shares = torch.bincount(drawn[:, 0], minlength=VOCABULARY) / len(drawn)
    assert torch.allclose(shares, expected, atol=0.015)


def test_the_likelihood_of_a_sequence_is_the_product_over_its_tokens(g: SequenceGenerator) -> None:
    """Token by token through the decode's own step."""
    tokens = torch.randint(VOCABULARY, (COUNT, LENGTH))
    state, before, found = g.start(COUNT, tokens.device), torch.zeros(COUNT, dtype=torch.int64), []
    for place in range(LENGTH):
        state = g.step(before, state)
        before = tokens[:, place]
        found.append(g.output(state[0]).log_softmax(1)[torch.arange(COUNT), before])
    assert torch.allclose(g.log_likelihood(tokens), torch.stack(found, 1), atol=1e-5)
    mean = torch.stack(found).detach().mean()
    assert negative_log_likelihood(context(g, tokens)).item() == pytest.approx(-mean.item(), rel=1e-5)


def test_roll_outs_keep_their_prefix_and_complete_it_as_the_policy_would(g: SequenceGenerator) -> None:
    """Prefixes are kept; a token after one is drawn as often as the policy gives it."""
    tokens = torch.randint(VOCABULARY, (2, LENGTH))
    completed = roll_out(g, tokens, 2_000).view(LENGTH - 1, 2_000, 2, LENGTH)
    for place in range(1, LENGTH):
        part = completed[place - 1]
        assert (part[:, :, :place] == tokens[:, :place]).all()
        for row in range(2):
            shares = torch.bincount(part[:, row, place], minlength=VOCABULARY) / 2_000
            following = torch.cat([tokens[row, :place].expand(VOCABULARY, -1), torch.arange(VOCABULARY)[:, None]], 1)
            assert torch.allclose(shares, g.log_likelihood(following)[:, -1].exp(), atol=0.05)
    last = completed[0, :, 0]
    pairs = torch.bincount(last[:, -2] * VOCABULARY + last[:, -1], minlength=VOCABULARY**2) / 2_000
    again = g(torch.rand(20_000, LENGTH))
    again = again[again[:, 0] == tokens[0, 0]]
    expected = torch.bincount(again[:, -2] * VOCABULARY + again[:, -1], minlength=VOCABULARY**2) / len(again)
    assert float((pairs - expected).abs().sum()) < 0.45


def test_the_policy_gradient_weighs_each_token_by_the_reward_of_its_completions(g: SequenceGenerator) -> None:
    """The last token's reward is D's output itself; the loss is the weighted sum of log-probabilities."""
    ctx = context(g, torch.randint(VOCABULARY, (COUNT, LENGTH)))
    torch.manual_seed(1)
    value = policy_gradient(3)(ctx)
    torch.manual_seed(1)
    fake = ctx.fake
    completed = roll_out(g, fake, 3).view(LENGTH - 1, 3, COUNT, LENGTH)
    rewards = torch.stack([*((part == 3).float().mean((0, 2)) for part in completed), (fake == 3).float().mean(1)], 1)
    expected = -(g.log_likelihood(fake) * rewards).sum()
    assert value.item() == pytest.approx(expected.item(), rel=1e-5)
    assert all(w is not None for w in torch.autograd.grad(value, tuple(g.parameters())))


@pytest.mark.slow
def test_the_gradient_makes_what_is_rewarded_likelier(g: SequenceGenerator) -> None:
    """A hundred steps of the policy gradient alone raise the share of threes."""
    torch.manual_seed(0)
    before = float((g(torch.rand(2_000, LENGTH)) == 3).float().mean())
    optimiser = torch.optim.Adam(g.parameters(), 0.05)
    for _ in range(60):
        optimiser.zero_grad()
        policy_gradient(2)(context(g, torch.zeros(COUNT, LENGTH, dtype=torch.int64))).backward()
        optimiser.step()
    assert float((g(torch.rand(2_000, LENGTH)) == 3).float().mean()) > before + 0.3


def test_more_sequences_are_the_fakes_and_others_of_g(g: SequenceGenerator) -> None:
    """The update's own come first and unchanged; with one batch nothing else is drawn; none carries a gradient."""
    ctx = context(g, torch.zeros(COUNT, LENGTH, dtype=torch.int64))
    tokens = draw_more(ctx, 500)
    assert tokens.shape == (500 * COUNT, LENGTH)
    assert torch.equal(tokens[:COUNT], ctx.fake)
    assert draw_more(ctx, 1) is ctx.fake
    expected = g.log_likelihood(torch.arange(VOCABULARY)[:, None]).exp()[:, 0]
    shares = torch.bincount(tokens[COUNT:, 0], minlength=VOCABULARY) / (499 * COUNT)
    assert torch.allclose(shares, expected, atol=0.04)


def test_more_sequences_lower_the_variance_of_the_policy_gradient(g: SequenceGenerator) -> None:
    """Of the gradient for each sequence, over 24 updates, to an eighth with eight batches."""

    def variance(draws: int) -> float:
        torch.manual_seed(3)
        loss = policy_gradient(1, draws=draws, has_baseline=True)
        found = []
        for _ in range(24):
            value = loss(context(g, torch.zeros(COUNT, LENGTH, dtype=torch.int64)))
            found.append(torch.autograd.grad(value, g.output.bias)[0] / (COUNT * draws))
        return float(torch.stack(found).var(0).sum())

    assert variance(8) < variance(1) / 4


def test_the_roll_out_policy_follows_g() -> None:
    """.8 of its own weights and .2 of G's, but the embedding whole."""
    g, r = (SequenceGenerator(VOCABULARY, LENGTH, width=4) for _ in range(2))
    before = r.output.weight.detach().clone()
    follow(0.8)({"G": g, "R": r})
    assert torch.equal(r.embedding.weight, g.embedding.weight)
    assert torch.allclose(r.output.weight, 0.8 * before + 0.2 * g.output.weight)


def test_the_reward_is_taken_without_dropout() -> None:
    """Two calls agree in training mode, for any number of rows at a time."""
    torch.manual_seed(0)
    d = SequenceDiscriminator(VOCABULARY, {1: 3, 2: 4, 5: 2})
    x = torch.randint(VOCABULARY, (11, LENGTH))
    assert torch.allclose(d.probability(x), d.probability(x, rows=4))
    assert not torch.allclose(d(x).logit, d(x).logit)
    assert torch.allclose(d.eval()(x).logit.sigmoid(), d.probability(x))


def test_l2_is_of_the_last_layer_alone() -> None:
    """Half the sum of squares, as TensorFlow's l2_loss."""
    d = SequenceDiscriminator(VOCABULARY, {1: 2})
    d.last.weight.data.fill_(2.0)
    d.last.bias.data.fill_(1.0)
    ctx = StepContext({"D": d}, Batch(torch.zeros(2, LENGTH, dtype=torch.int64)), {}, step=0)
    assert d_last_l2(ctx).item() == pytest.approx((4 + 4 + 1) / 2)


def test_gradients_are_clipped_by_their_norm_together() -> None:
    """(3, 4) and (0, 12) have norm 13: a step of rate 1 goes 1.3 along them."""
    first, second = nn.Parameter(torch.zeros(2)), nn.Parameter(torch.zeros(2))
    optimiser = clipped(sgd(1.0, 0.0), 1.3).make([first, second])
    first.grad, second.grad = torch.tensor([3.0, 4.0]), torch.tensor([0.0, 12.0])
    optimiser.step()
    assert torch.cat([first, second]).tolist() == pytest.approx([-0.3, -0.4, 0.0, -1.2], abs=1e-5)
