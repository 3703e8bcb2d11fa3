"""The client: forecasts from one server or several replicas.

Trading imports this package and nothing else of serving.
"""
