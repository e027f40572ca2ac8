"""Networks: they see tensors, and neither files, logs nor optimisers."""
