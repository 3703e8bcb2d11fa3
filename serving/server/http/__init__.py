"""HTTP edge: codec, ASGI application, limits and server."""
