"""The registry: versions of models, each an ONNX file with its card.

The only importer of MLflow. Serving reads this package and no other subpackage of `models`, so nothing here
may load a training library.
"""
