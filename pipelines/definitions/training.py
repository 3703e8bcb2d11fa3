"""Training pipeline: snapshot → registered version → its gate's verdict."""

from typing import Any

from kfp import dsl

from pipelines import components
from pipelines.compile_options import CompileOptions


def define_training(options: CompileOptions) -> Any:
    """Build the pipeline that trains and registers a version, and proposes nothing."""
    step = options.apply

    @dsl.pipeline(name="training", description="Train, judge and register a version of a model.")
    def training(settings: str, cause_id: str, model: str, family: str, run: str) -> None:
        snapshot = step(components.freeze_snapshot(settings=settings, run=run))
        version = step(
            components.train_candidate(
                settings=settings, snapshot=snapshot.output, model=model, family=family, run=run
            )
        )
        step(components.gate_verdict(settings=settings, model=model, version=version.output))

    return training
