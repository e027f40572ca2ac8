"""MLServer's runtime: a V2 tensor of seeds in, one of PNGs in base64 out."""

from __future__ import annotations

from mlserver import MLModel
from mlserver.codecs import Base64Codec
from mlserver.types import InferenceRequest, InferenceResponse

from benchmarks.serving.contenders.generator import Generator


class Images(MLModel):
    """What a worker loads."""

    async def load(self) -> bool:
        """Load the model."""
        self.generator = Generator()
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        """The images of a batch."""
        seeds = [int(seed) for seed in payload.inputs[0].data]
        output = Base64Codec.encode_output("png", self.generator.pngs(seeds), use_bytes=False)
        return InferenceResponse(model_name=self.name, outputs=[output])
