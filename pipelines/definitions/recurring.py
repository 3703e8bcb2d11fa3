"""A pipeline as a recurring run calls it: the slot is claimed first, and one that is taken ends the run."""

from collections.abc import Mapping
from typing import Any

from kfp import dsl

from pipelines import components
from pipelines.compile_options import CompileOptions


def define_recurring(
    pipeline: Any, options: CompileOptions, *, schedule: str, cron: str, arguments: Mapping[str, str]
) -> Any:
    """Build the recurring form of `pipeline`, whose cause id and run id are its slot.

    Parameters
    ----------
    pipeline : object
        The pipeline, as Kubeflow's decorator returns it.
    options : CompileOptions
        Options of the step that claims the slot.
    schedule : str
        Name of the schedule.
    cron : str
        Times of the schedule, in six fields.
    arguments : mapping of str to str
        Arguments of the pipeline, without `settings`, `cause_id` and `run`.

    Returns
    -------
    object
        The recurring form, as Kubeflow's decorator returns it.
    """

    @dsl.pipeline(name=f"scheduled-{pipeline.name}", description=pipeline.description or "")
    def recurring(settings: str) -> None:
        slot = options.apply(
            components.claim_slot(
                settings=settings,
                schedule=schedule,
                cron=cron,
                scheduled_at=dsl.PIPELINE_JOB_SCHEDULE_TIME_UTC_PLACEHOLDER,
                job=dsl.PIPELINE_JOB_ID_PLACEHOLDER,
            )
        )
        with dsl.If(slot.output != ""):
            pipeline(settings=settings, cause_id=slot.output, run=slot.output, **arguments)

    return recurring
