"""Client: forecasts from one server or from several replicas.

Trading imports this subpackage and nothing else of serving.
"""
