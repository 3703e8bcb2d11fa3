"""The hosts that run the inference core: Ray Serve, and a single process without Ray."""
