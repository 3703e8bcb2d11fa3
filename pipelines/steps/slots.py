"""The slot of a schedule: the moment for which a recurring run is due, claimed by one run alone."""

from __future__ import annotations

from alphaloop.clock import SystemClock
from alphaloop.journal.opening import open_journal
from alphaloop.journal.streams import PIPELINE_STREAM
from pipelines.cron import Cron
from pipelines.run_parameter import settings_of_run

SLOT_CLAIMED = "slot.claimed"


def claim_slot(settings: str, schedule: str, cron: str, scheduled_at: str, job: str) -> str:
    """Claim the slot of a recurring run.

    Parameters
    ----------
    settings : str
        Parameter of the run.
    schedule : str
        Name of the schedule.
    cron : str
        Times of the schedule.
    scheduled_at : str
        Moment for which Kubeflow scheduled the run; servers that do not fill it in leave its placeholder, and
        the last moment of `cron` takes its place.
    job : str
        Kubeflow's id of the run.

    Returns
    -------
    str
        The slot, which is the cause id of the run; empty where another run has it, so that a slot that two
        recurring runs fire is run once.
    """
    chosen, clock = settings_of_run(settings), SystemClock()
    moment = scheduled_at if not scheduled_at.startswith("{{") else ""
    slot = f"{schedule}-{Cron.parse(cron).slot(moment or clock.now()):%Y%m%dT%H%M%S}"
    with open_journal(chosen, clock) as journal:
        body = {"cause_id": slot, "schedule": schedule, "job": job}
        claim = journal.append(PIPELINE_STREAM, SLOT_CLAIMED, body, unique="cause_id")
    return slot if claim.body["job"] == job else ""
