"""Monitoring pipeline: the prediction log → drift alarms and retrain requests, and Evidently's report."""

from typing import Any

from kfp import dsl

from pipelines import components
from pipelines.compile_options import CompileOptions


def define_monitoring(options: CompileOptions) -> Any:
    """Build the pipeline that looks for drift in the whole prediction log."""
    step = options.apply

    @dsl.pipeline(name="monitoring", description="Look for drift, and ask for a retraining where it is due.")
    def monitoring(settings: str, cause_id: str, model: str, run: str) -> None:
        step(components.watch_drift(settings=settings, model=model, run=run))
        step(components.drift_report(settings=settings, model=model, run=run))

    return monitoring
