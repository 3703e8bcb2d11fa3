"""Evaluation pipeline: the newest snapshot → walk-forward figures of a registered version."""

from typing import Any

from kfp import dsl

from pipelines import components
from pipelines.compile_options import CompileOptions


def define_evaluation(options: CompileOptions) -> Any:
    """Build the pipeline that evaluates a registered version on the newest bars."""
    step = options.apply

    @dsl.pipeline(name="evaluation", description="Evaluate a registered version on the newest bars.")
    def evaluation(settings: str, cause_id: str, model: str, version: str, run: str) -> None:
        snapshot = step(components.freeze_snapshot(settings=settings, run=run))
        step(
            components.evaluate_version(
                settings=settings, snapshot=snapshot.output, model=model, version=version, run=run
            )
        )

    return evaluation
