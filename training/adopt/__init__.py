"""From a generator trained elsewhere, a PyTorch module or an ONNX graph, to a model file of the service."""
