"""From nets to one ONNX file."""
