"""Weights that a parametrization or a hook computes at each call: computed once for inference."""

from __future__ import annotations

from torch import nn
from torch.nn.utils import parametrize, remove_spectral_norm, remove_weight_norm
from torch.nn.utils.spectral_norm import SpectralNorm
from torch.nn.utils.weight_norm import WeightNorm


def make_weights_plain(net: nn.Module) -> None:
    """Compute each weight that is parametrised once, and keep it as a weight; the module is in evaluation mode.

    Of spectral norm and weight norm both kinds are known, that of ``torch.nn.utils.parametrizations`` and the older hooks.
    """
    for module in list(net.modules()):
        if parametrize.is_parametrized(module):
            kind = type(module)  # torch takes the weight's property off the class, which a copy shares with its original
            module.__class__ = type(kind.__name__, kind.__bases__, dict(vars(kind)))
            for name in list(module.parametrizations):  # type: ignore[arg-type]
                parametrize.remove_parametrizations(module, name, leave_parametrized=True)
        for hook in list(module._forward_pre_hooks.values()):  # of torch.nn.utils, from before the parametrizations
            if isinstance(hook, SpectralNorm):
                remove_spectral_norm(module, hook.name)
            elif isinstance(hook, WeightNorm):
                remove_weight_norm(module, hook.name)
