"""Serving: predictions over the Open Inference Protocol.

Here live the inference core and its thin edges, the ONNX engine, the router (champion, canary,
shadow), the hosts that run them, the prediction log and the client.

No training library is ever imported here (no torch, no lightgbm), and nothing here decides which
model is champion: the rollout document on the registry does.

Requests come in on gRPC; scores go out, and every prediction goes to the prediction log.
"""
