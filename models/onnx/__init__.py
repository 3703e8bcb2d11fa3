"""ONNX: export of a model, and the check that the file reproduces the model."""
