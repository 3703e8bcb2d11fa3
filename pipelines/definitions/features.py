"""Features pipeline: new bars → offline features → online windows."""

from typing import Any

from kfp import dsl

from pipelines import components
from pipelines.compile_options import CompileOptions


def define_features(options: CompileOptions) -> Any:
    """Build the pipeline that reads new bars and fills both feature stores."""
    step = options.apply

    @dsl.pipeline(name="features", description="Read new bars and fill the offline and online features.")
    def features(settings: str, cause_id: str, run: str) -> None:
        bars = step(components.update_bars(settings=settings, run=run))
        built = step(components.build_features(settings=settings, snapshot=bars.output, run=run))
        step(components.publish_features(settings=settings, snapshot=bars.output, run=run)).after(built)

    return features
