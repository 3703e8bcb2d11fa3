"""Backfill pipeline: the newest snapshot → offline features, with no new bar and nothing published."""

from typing import Any

from kfp import dsl

from pipelines import components
from pipelines.compile_options import CompileOptions


def define_backfill(options: CompileOptions) -> Any:
    """Build the pipeline that computes the features of all stored bars again."""
    step = options.apply

    @dsl.pipeline(name="backfill", description="Compute the offline features of all stored bars again.")
    def backfill(settings: str, cause_id: str, run: str) -> None:
        snapshot = step(components.freeze_snapshot(settings=settings, run=run))
        step(components.build_features(settings=settings, snapshot=snapshot.output, run=run))

    return backfill
