"""The HTTP wire: codec, ASGI application, limits and server."""
