"""Whether a graph's inputs and output are those of its card."""

from __future__ import annotations

from collections.abc import Sequence

from contract import Card, Categorical
from contract.pictures import HAS_PICTURE, PICTURE
from serving.errors import ModelError
from serving.model.inspection import GUARD
from serving.model.runtime import Session


def check_interface(session: Session, card: Card) -> None:
    """Compare the graph's inputs and output with the card.

    Raises:
        ModelError: they differ; the message names the input or output and has both declarations.
    """
    expected = {
        name: ("tensor(int64)", []) if isinstance(latent, Categorical) else ("tensor(float)", [latent.size])
        for name, latent in card.latents.items()
    }
    if card.picture is not None:
        expected[PICTURE] = ("tensor(uint8)", list(card.picture.shape))
        if card.picture.is_optional:
            expected[HAS_PICTURE] = ("tensor(bool)", [])
    _compare("input", session.get_inputs(), expected)
    kinds = {"uint8": "tensor(uint8)", "float32": "tensor(float)", "int64": "tensor(int64)"}
    output = card.output
    outputs = [node for node in session.get_outputs() if node.name != GUARD]
    _compare("output", outputs, {output.kind: (kinds[output.dtype], list(output.shape))})


def _compare(role: str, found: Sequence[object], expected: dict[str, tuple[str, list[int]]]) -> None:
    names = [getattr(node, "name", "") for node in found]
    if sorted(names) != sorted(expected):
        raise ModelError(f"{role}s must be {', '.join(expected)} by the card, got {', '.join(names) or 'none'}")
    for node in found:
        name, kind, shape = (getattr(node, part) for part in ("name", "type", "shape"))
        if kind != expected[name][0]:
            raise ModelError(f"{role} {name} must be {expected[name][0]}, got {kind}")
        if len(shape) != 1 + len(expected[name][1]) or any(
            isinstance(axis, int) and axis != size for axis, size in zip(shape[1:], expected[name][1], strict=True)
        ):
            raise ModelError(f"{role} {name} must have shape [n, {', '.join(map(str, expected[name][1]))}], got {shape}")
        if isinstance(shape[0], int):
            raise ModelError(f"{role} {name} must have a dynamic batch, got {shape}")
