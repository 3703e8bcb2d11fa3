"""Steps of the pipelines as plain functions of strings, as Kubeflow passes them.

`settings` is the parameter of the run (`pipelines.run_parameter`), `run` the id of the run. What a step found
is journalled under both run and step, so that a run that is started again repeats no step that was done.
"""

from lazy_loader import attach_stub

__getattr__, __dir__, __all__ = attach_stub(__name__, __file__)
