"""gRPC edge: codec, inference service, health service and server."""
