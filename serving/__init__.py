"""Serving: predictions over the Open Inference Protocol.

Here live the inference core (routing, inputs, scoring), its gRPC and HTTP edges, the hosts that run it
(one process, or Ray Serve), the prediction log, the client, and exports to BentoML and Triton.

Requests come in over gRPC or HTTP with a panel of features, or with symbols and a bar's time; then the
features come from the online store. Models come from the registry as ONNX files. Scores go out, and
every prediction goes to the prediction log.

No training library is imported here (no torch, no lightgbm). Nothing here decides which version is
champion: the registry's rollout document does.
"""

from lazy_loader import attach_stub

__getattr__, __dir__, __all__ = attach_stub(__name__, __file__)
