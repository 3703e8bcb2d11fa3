"""Models: from a dataset to a registered and judged ONNX file.

Here live the dataset and its labels, the model families (`models.zoo`, one file each), tuning and training,
walk-forward evaluation and the promotion gate, ONNX export with its fidelity check, and the registry.

No server, order or drift monitor lives here. MLflow is imported in `models.registry` only, Ray Tune in
`models.training.tuning` only.

Features (`FeatureFrame`) and bars (`BarPanel`) come in; a model version (ONNX file and card) goes out to the
registry.
"""

from lazy_loader import attach_stub

__getattr__, __dir__, __all__ = attach_stub(__name__, __file__)
