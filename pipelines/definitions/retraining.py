"""Retraining pipeline: snapshot → drift report and candidate → gate → proposal, or a reasoned refusal."""

from typing import Any

from kfp import dsl

from pipelines import components
from pipelines.compile_options import CompileOptions


def define_retraining(options: CompileOptions) -> Any:
    """Build the pipeline that answers a retrain request."""
    step = options.apply

    @dsl.pipeline(
        name="retraining",
        description="Retrain a model after drift, and propose it if its gate lets it pass.",
    )
    def retraining(settings: str, cause_id: str, model: str, family: str, run: str) -> None:
        step(components.drift_report(settings=settings, model=model, run=run))
        snapshot = step(components.freeze_snapshot(settings=settings, run=run))
        candidate = step(
            components.train_candidate(
                settings=settings, snapshot=snapshot.output, model=model, family=family, run=run
            )
        )
        version = {"settings": settings, "model": model, "version": candidate.output}
        verdict = step(components.gate_verdict(**version))
        with dsl.If(verdict.output == "passed"):
            step(components.propose(**version, cause_id=cause_id, run=run))
        with dsl.Else():
            step(components.refuse(**version, cause_id=cause_id, run=run))

    return retraining
