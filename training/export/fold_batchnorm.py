"""Batch normalisation folded into the neighbouring layer: the same function at inference, one layer fewer."""

from __future__ import annotations

import copy
from collections.abc import Iterator

import torch
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval, fuse_linear_bn_eval

from training.export.plain_weights import make_weights_plain

Norm = nn.BatchNorm1d | nn.BatchNorm2d


def fold_batch_norm(net: nn.Module) -> nn.Module:
    """A copy of ``net`` in evaluation mode in which every batch normalisation next to a linear layer is part of it.

    Inside every ``nn.Sequential``, and across a reshaping layer between the two: layer - BN becomes the layer before it,
    BN - linear the layer behind it. Spectral norm and weight norm are computed once before.
    """
    folded = copy.deepcopy(net).eval()
    make_weights_plain(folded)
    chains = [module for module in folded.modules() if isinstance(module, nn.Sequential)]
    inner = {id(layer) for chain in chains for layer in chain if isinstance(layer, nn.Sequential)}
    leaves = [leaf for chain in chains if id(chain) not in inner for leaf in _leaves(chain)]
    for place, (owner, name) in enumerate(leaves):
        norm = owner._modules[name]
        if isinstance(norm, Norm):
            _fold_one(leaves, place, norm)
    return folded


def _leaves(chain: nn.Sequential) -> Iterator[tuple[nn.Sequential, str]]:
    """The layers in the order in which they are called, those of a chain inside the chain in its place."""
    for name, layer in chain._modules.items():
        if isinstance(layer, nn.Sequential):
            yield from _leaves(layer)
        else:
            yield chain, name


def _fold_one(leaves: list[tuple[nn.Sequential, str]], place: int, norm: Norm) -> None:
    owner, name = leaves[place]
    before = _neighbour(leaves, place, -1)
    if before is not None and _can_absorb(before[0]._modules[before[1]], norm):
        before[0]._modules[before[1]] = _absorb(before[0]._modules[before[1]], norm)
        owner._modules[name] = nn.Identity()
        return
    after = _neighbour(leaves, place, +1)
    linear = after[0]._modules[after[1]] if after else None
    if after is not None and isinstance(linear, nn.Linear):
        after[0]._modules[after[1]] = _absorb_before(norm, linear)
        owner._modules[name] = nn.Identity()


def _neighbour(leaves: list[tuple[nn.Sequential, str]], place: int, direction: int) -> tuple[nn.Sequential, str] | None:
    place += direction
    while 0 <= place < len(leaves):
        owner, name = leaves[place]
        if not isinstance(owner._modules[name], nn.Identity | nn.Unflatten | nn.Dropout):
            return leaves[place]
        place += direction
    return None


def _can_absorb(layer: nn.Module | None, norm: Norm) -> bool:
    if isinstance(layer, nn.Linear):
        return layer.out_features % norm.num_features == 0
    return isinstance(layer, nn.Conv2d | nn.ConvTranspose2d) and layer.out_channels == norm.num_features


def _absorb(layer: nn.Module | None, norm: Norm) -> nn.Module:
    if isinstance(layer, nn.Conv2d):
        return fuse_conv_bn_eval(layer, norm)
    if isinstance(layer, nn.ConvTranspose2d):
        return fuse_conv_bn_eval(layer, norm, transpose=True)
    assert isinstance(layer, nn.Linear)  # what _can_absorb let through
    return fuse_linear_bn_eval(layer, _per_output(norm, layer.out_features // norm.num_features))


def _per_output(norm: Norm, repeats: int) -> nn.BatchNorm1d:
    """The normalisation of a reshaped dense layer's channels, one entry for each of the dense layer's outputs."""
    assert norm.running_mean is not None
    spread = nn.BatchNorm1d(norm.num_features * repeats, eps=norm.eps, device=norm.running_mean.device).eval()
    state = {k: v.repeat_interleave(repeats) if v.ndim else v for k, v in norm.state_dict().items()}
    spread.load_state_dict(state, strict=norm.affine)  # without a gain and a shift of its own: one and zero
    return spread


@torch.no_grad()
def _absorb_before(norm: Norm, linear: nn.Linear) -> nn.Linear:
    """W (s x + t) + b = (W s) x + (W t + b), with s and t the normalisation's scale and shift."""
    norm = _per_output(norm, 1)
    mean, variance = norm.running_mean, norm.running_var
    assert mean is not None
    assert variance is not None
    scale = norm.weight / torch.sqrt(variance + norm.eps)
    shift = norm.bias - mean * scale
    folded = nn.Linear(linear.in_features, linear.out_features).to(linear.weight)
    folded.weight.copy_(linear.weight * scale)
    folded.bias.copy_(linear.weight @ shift + (0 if linear.bias is None else linear.bias))
    return folded
