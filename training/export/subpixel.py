"""Transposed convolutions of stride 2 as plain convolutions and a pixel shuffle: the same function in other ONNX operators."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from itertools import product

import torch
from torch import nn

STRIDE = 2


def rewrite_transposed(net: nn.Module) -> nn.Module:
    """A copy of ``net`` in evaluation mode in which every transposed convolution that doubles its input is rewritten.

    Each output pixel of such a layer belongs to one of 2 x 2 phases, and each phase is a convolution of the input with every
    second tap of the kernel (Shi et al. 2016, arXiv:1609.07009). So one convolution with four times the channels computes all
    phases, and ``PixelShuffle``, ONNX's DepthToSpace in mode CRD, lays them side by side. Other layers stay as they are.
    """
    rewritten = copy.deepcopy(net).eval()
    if isinstance(rewritten, nn.ConvTranspose2d):
        return _rewritten(rewritten) if doubles(rewritten) else rewritten
    for owner in list(rewritten.modules()):
        for name, layer in list(owner.named_children()):
            if isinstance(layer, nn.ConvTranspose2d) and doubles(layer):
                setattr(owner, name, _rewritten(layer))
    return rewritten


def doubles(layer: nn.ConvTranspose2d) -> bool:
    """Whether [N,C,H,W] becomes [N,C',2H,2W] by one undilated kernel over all channels: (n-1)s - 2p + k + op = 2n, s = 2."""
    axes = zip(layer.kernel_size, _paddings(layer), layer.output_padding, strict=True)
    is_double = all(kernel + extra == 2 * padding + STRIDE for kernel, padding, extra in axes)
    return is_double and layer.groups == 1 and set(layer.stride) == {STRIDE} and set(layer.dilation) == {1}


def _rewritten(layer: nn.ConvTranspose2d) -> nn.Sequential:
    kernel = list(zip(layer.kernel_size, _paddings(layer), strict=True))
    reach = [_reach(size, padding) for size, padding in kernel]
    convolution = nn.Conv2d(
        layer.in_channels,
        layer.out_channels * STRIDE**2,
        (2 * reach[0] + 1, 2 * reach[1] + 1),
        padding=(reach[0], reach[1]),
        bias=layer.bias is not None,
    ).to(layer.weight)
    taps = product(*(list(_taps(size, padding)) for size, padding in kernel))
    with torch.no_grad():
        weight = torch.zeros_like(convolution.weight).unflatten(0, (layer.out_channels, STRIDE, STRIDE))
        for (row_phase, row_offset, row), (column_phase, column_offset, column) in taps:
            place = row_offset + reach[0], column_offset + reach[1]
            weight[:, row_phase, column_phase, :, place[0], place[1]] = layer.weight[:, :, row, column].T
        convolution.weight.copy_(weight.flatten(0, 2))
        if layer.bias is not None and convolution.bias is not None:
            convolution.bias.copy_(layer.bias.repeat_interleave(STRIDE**2))
    return nn.Sequential(convolution, nn.PixelShuffle(STRIDE)).eval()


def _paddings(layer: nn.ConvTranspose2d) -> tuple[int, ...]:
    assert not isinstance(layer.padding, str)  # a word is for plain convolutions only
    return layer.padding


def _taps(size: int, padding: int) -> Iterator[tuple[int, int, int]]:
    """Along one axis, (phase r, offset d, tap t) of y[2m + r] = sum_d x[m + d] w[t], where t = r + padding - 2d."""
    for tap in range(size):
        phase = (tap - padding) % STRIDE
        yield phase, (phase + padding - tap) // STRIDE, tap


def _reach(size: int, padding: int) -> int:
    """How far a phase looks to either side."""
    return max(abs(offset) for _, offset, _ in _taps(size, padding))
