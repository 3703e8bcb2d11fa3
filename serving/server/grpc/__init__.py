"""The gRPC wire: codec, inference service, health and server."""
