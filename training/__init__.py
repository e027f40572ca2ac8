"""The job: a recipe is played as a two-player game, and the generator that comes out is exported as one ONNX file."""
