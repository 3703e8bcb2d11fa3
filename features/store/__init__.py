"""The feature store: features at rest, windows online, and the one that writes them.

Serving may import `features.store.online` and nothing else of this package. Only `features.store.feast`, the
store and the streamer know Feast.
"""
