"""Generators with habits that one rarely meets: adopted, or refused with a sentence that says what to do."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tests.training.adopt.generators import Dense, Pictures


class InPlace(Pictures):
    """Scales the latents where they lie."""

    def forward(self, z: Tensor) -> Tensor:
        z *= 0.5
        return super().forward(z)


class Slash(Pictures):
    """Takes its first latent by place only."""

    def forward(self, z: Tensor, /, shift: Tensor) -> Tensor:  # type: ignore[override]
        return super().forward(z + shift)


class Slashed(Pictures):
    """Takes three by place only, two of which may be left out."""

    def forward(self, z: Tensor, gain: float = 1.0, shift: float | Tensor = 0.0, /) -> Tensor:
        return super().forward(z * gain + shift)


class Leaky(Dense):
    """Draws the slopes of its activation in training only."""

    def __init__(self) -> None:
        super().__init__()
        self.slope = nn.RReLU()

    def forward(self, z: Tensor) -> Tensor:
        return super().forward(self.slope(z))


class LeakyFunction(Dense):
    """The same by a function, for which ONNX has no operator."""

    def forward(self, z: Tensor) -> Tensor:
        return super().forward(F.rrelu(z))


class Lazy(Pictures):
    """Has a layer that takes its size from its first input."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.LazyLinear(12)

    def forward(self, z: Tensor) -> Tensor:
        return super().forward(self.first(z))


class WeightNorm(Pictures):
    """Has a layer with weight norm of torch's newer kind."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.utils.parametrizations.weight_norm(nn.Linear(12, 12))

    def forward(self, z: Tensor) -> Tensor:
        return super().forward(self.first(z))


class Fused(Dense):
    """Gives each row weights of its own by one convolution with as many groups as rows, as StyleGAN2 does."""

    def __init__(self) -> None:
        super().__init__()
        self.kernel = nn.Parameter(torch.full((3, 3, 1, 1), 0.3))

    def forward(self, z: Tensor) -> Tensor:
        x = super().forward(z)
        rows = x.shape[0]
        kernels = (self.kernel[None] * z[:, None, :3, None, None]).reshape(-1, 3, 1, 1)
        return torch.tanh(F.conv2d(x.reshape(1, -1, 2, 2), kernels, groups=rows).reshape(rows, 3, 2, 2))


class Autocast(Dense):
    """Computes in bfloat16 and returns float32."""

    def forward(self, z: Tensor) -> Tensor:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            return super().forward(z).float()


class RowByRow(Pictures):
    """Computes one row at a time."""

    def forward(self, z: Tensor) -> Tensor:
        return torch.cat([torch.tanh(z[row : row + 1]).view(1, 3, 2, 2) for row in range(z.shape[0])])


class Hungry(Pictures):
    """Has no memory for more than eight rows."""

    def forward(self, z: Tensor) -> Tensor:
        if isinstance(z.shape[0], int) and z.shape[0] > 8:
            raise MemoryError
        return F.interpolate(super().forward(z), scale_factor=96.0)


class Immense(Pictures):
    """Asks for more memory than any machine has."""

    def forward(self, z: Tensor) -> Tensor:
        return super().forward(z) + torch.zeros(2**50)[0]


class Talking(Pictures):
    """Prints when it is made and when it is called."""

    def __init__(self) -> None:
        super().__init__()
        print("parameters: 0")

    def forward(self, z: Tensor) -> Tensor:
        print("forward")
        return super().forward(z)


class Levels255(Pictures):
    """In 0..255, as float32."""

    def forward(self, z: Tensor) -> Tensor:
        return super().forward(z) * 127.5 + 127.5


class Overshooting(Pictures):
    """Meant for [0,1], which it leaves by a fifth at both ends."""

    def forward(self, z: Tensor) -> Tensor:
        return super().forward(z) * 0.7 + 0.5


class BelowZero(Pictures):
    """Meant for [0,1], which it leaves at the dark end."""

    def forward(self, z: Tensor) -> Tensor:
        return super().forward(z) * 0.55 + 0.4


class Labelled(Pictures):
    """Takes a class as [n,4,1,1], as conditional DCGANs do."""

    def __init__(self) -> None:
        super().__init__()
        self.last = nn.ConvTranspose2d(4, 3, 2)

    def forward(self, y: Tensor) -> Tensor:
        return torch.tanh(self.last(y))


class Layered(Pictures):
    """Scales eight layers of styles by one number a row, which lacks an axis for it."""

    def forward(self, z: Tensor, psi: Tensor) -> Tensor:  # type: ignore[override]
        return super().forward((z[:, None].repeat(1, 8, 1) * psi).mean(1))


def scripted() -> nn.Module:
    """TorchScript as a whole."""
    whole: nn.Module = torch.jit.script(nn.Linear(12, 12))
    return whole


def partly_scripted() -> nn.Module:
    """TorchScript in a layer."""
    return nn.Sequential(torch.jit.script(nn.Linear(12, 12)), nn.Unflatten(1, (3, 2, 2)))
