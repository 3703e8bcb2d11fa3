"""The feature store: offline files, online windows, and the single process that writes them.

Features enter from `features.compute`; point-in-time tables leave for training, float32 windows leave for
serving. Serving may import `features.store.online_reader` and nothing else of this package. Only
`features.store.feast`, the feature store and the streamer use Feast.
"""
