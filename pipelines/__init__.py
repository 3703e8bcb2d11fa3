"""Pipelines: Kubeflow components and pipelines, and the runner of retrain requests.

Here live the steps as plain functions (`pipelines.steps`), the components that call them in three lines
each, the pipelines, and their runner on this machine. Logic never lives in a component, because it could
then be tested with mocks only. No other package imports `kfp` or starts a pipeline.

In come retrain requests from the journal, each with a unique cause id; each is run to an end once. Out go
pipeline runs, model versions and journaled conclusions: a candidate proposed or refused.
"""

from lazy_loader import attach_stub

__getattr__, __dir__, __all__ = attach_stub(__name__, __file__)
