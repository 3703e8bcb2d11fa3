"""Monitoring: feature drift, alarms and retrain requests.

Here live the drift monitor with its calibration (`monitoring.drift`, the only importer of Evidently) and the
drift watch, which turns alarms into retrain requests once enough labels have matured. Nothing here changes
a rollout or starts a pipeline: `pipelines` reads the requests from the journal.

In come the prediction log and training features. Out go journal records: alarms, findings about features
without live values, and retrain requests, each with a unique cause id.

`DriftCalibration` and `DriftMonitor` are usable alone, without a journal.
"""

from lazy_loader import attach_stub

__getattr__, __dir__, __all__ = attach_stub(__name__, __file__)
