"""From a model file to a model that has passed its checks."""
