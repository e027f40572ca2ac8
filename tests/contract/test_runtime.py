"""The name of the runtime class."""

from __future__ import annotations

import platform

import pytest

from contract import runtime_class


@pytest.mark.parametrize("version", ["1.31.0", "1.31.2", "1.31.0.dev20260101"])
def test_the_runtime_class_leaves_out_the_patch_release(version: str) -> None:
    """Patch releases of onnxruntime share a class; the minor release, the device and the processor are named."""
    assert runtime_class(version, "cuda") == f"onnxruntime-1.31-cuda-{platform.machine()}"
