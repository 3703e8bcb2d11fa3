"""Inference: the core that routes, reads inputs, scores and logs.

Every server and host uses this one core. Nothing here knows gRPC or HTTP.
"""
