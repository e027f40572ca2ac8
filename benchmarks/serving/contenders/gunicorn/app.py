"""The plain way: a Flask view that runs the model, one request at a time in each thread."""

from __future__ import annotations

from flask import Flask, Response, request

from benchmarks.serving.contenders.generator import Generator

app = Flask(__name__)
generator = Generator()


@app.get("/generate")
def generate() -> Response:
    """The image of a seed."""
    return Response(generator.pngs([int(request.args["seed"])])[0], mimetype="image/png")
