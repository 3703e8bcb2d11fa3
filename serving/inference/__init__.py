"""Inference: the core that routes requests, reads inputs, scores and logs.

Every server and host uses this core. Nothing here knows gRPC or HTTP.
"""
