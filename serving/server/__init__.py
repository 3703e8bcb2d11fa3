"""The server: the gateway with admission, batching and limits, and both wires.

`grpc` and `http` translate for `gateway`; nothing here decides which version answers.
"""
