"""Why a generator cannot be exported, in one sentence."""

from __future__ import annotations

import re

from training.export.runtime import mistake_of

FIXED_ROWS = re.compile(
    r"Constraints violated|specialized|operands could not be broadcast|ONNXRuntimeError.*(?:shape|dimension)", re.IGNORECASE
)
"""What the exporter, NumPy and onnxruntime say of a graph that was made for another number of rows."""


def explain(error: BaseException | None) -> str:
    """One sentence about an error of torch's exporter, of onnxruntime, or of the comparison of their results."""
    lines: list[str] = []
    while error is not None:
        text = str(error)
        if found := re.search(r"No (?:ONNX|decompositions?)[^\n]*?op='([\w.]+)'", text) or re.search(
            r"(?:not supported|No ONNX function found)[^\n]*?((?:aten|prims|torchvision)[.:]+[\w.]+)", text
        ):
            return f"ONNX has no operator for {found[1]}, which the generator uses"
        if "'group': SymbolicTensor" in text:
            return (
                "a convolution takes its groups from the number of rows, which ONNX cannot: "
                "give each row its weights in another way, as StyleGAN2 does by fused_modconv=False"
            )
        if "data-dependent" in text:
            return "the generator decides by the values of a tensor, as `if` or .item() do, which ONNX cannot: use torch.where"
        if found := re.search(r"NOT_IMPLEMENTED : Could not find an implementation for (\w+)", text):
            why = f"forward changes the precision of its numbers, in which onnxruntime has no {found[1]}"
            return f"{why}: leave .half(), .to(torch.bfloat16), autocast and the like out of it"
        if FIXED_ROWS.search(text):
            return (
                "the exported generator fixes the number of rows: take it from x.shape[0], not from len(x) or a constant, "
                "and compute all rows at once, without a loop over them"
            )
        lines.append(mistake_of(error))
        error = error.__cause__ or error.__context__
    return f"the generator cannot be exported to ONNX: {lines[-1] if lines else 'unknown error'}"
