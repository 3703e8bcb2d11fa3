"""Server: the gateway with admission, batching and limits, and its gRPC and HTTP edges.

`grpc` and `http` translate for `gateway`; nothing here decides which version answers.
"""
