"""Models: from a dataset to a registered ONNX file that has earned its place.

Here live the dataset, labels and splits, the model families (`models.zoo`, one file a family),
tuning, walk-forward evaluation, the promotion gate, ONNX export with its fidelity gate, and the
registry.

No server, no order and no drift monitor lives here.

Feature windows and bars come in; a model version (ONNX file and card) goes out to the registry.
"""
