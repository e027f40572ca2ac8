"""The plain way with asyncio: a FastAPI route that runs the model, one request at a time in each worker."""

from fastapi import FastAPI, Response

from benchmarks.serving.contenders.generator import Generator

app = FastAPI()
generator = Generator()


@app.get("/generate")
async def generate(seed: int) -> Response:
    """The image of a seed."""
    return Response(generator.pngs([seed])[0], media_type="image/png")
