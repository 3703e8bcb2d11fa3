"""ONNX: the export of a model and the proof that the file is the model."""
