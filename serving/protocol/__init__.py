"""Open Inference Protocol: messages, tensors, errors and limits.

Values and checks only: no socket is opened and no model is run here.
"""
