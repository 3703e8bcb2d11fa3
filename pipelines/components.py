"""Kubeflow components, each of three lines that call `pipelines.steps`."""

from kfp import dsl

IMAGE = "alphaloop:latest"
"""Container image of the components, unless `pipelines.image` names another at compile time."""


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def claim_slot(settings: str, schedule: str, cron: str, scheduled_at: str, job: str) -> str:
    """Claim the slot of a recurring run; returns it, or nothing where another run has it."""
    from pipelines import steps

    return steps.claim_slot(settings, schedule, cron, scheduled_at, job)


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def freeze_snapshot(settings: str, run: str) -> str:
    """Return the id of the newest data snapshot."""
    from pipelines import steps

    return steps.freeze_snapshot(settings, run)


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def update_bars(settings: str, run: str) -> str:
    """Store the source's new bars; returns the snapshot's id."""
    from pipelines import steps

    return steps.update_bars(settings, run)


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def build_features(settings: str, snapshot: str, run: str) -> str:
    """Compute the features of a snapshot and fill the offline store."""
    from pipelines import steps

    return steps.build_features(settings, snapshot, run)


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def publish_features(settings: str, snapshot: str, run: str) -> str:
    """Write the windows of a snapshot's last bar to the online store."""
    from pipelines import steps

    return steps.publish_features(settings, snapshot, run)


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def drift_report(settings: str, model: str, run: str) -> str:
    """Write Evidently's report on the last bars of the prediction log."""
    from pipelines import steps

    return steps.drift_report(settings, model, run)


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def watch_drift(settings: str, model: str, run: str) -> str:
    """Journal the drift alarms and retrain requests that the prediction log gives rise to."""
    from pipelines import steps

    return steps.watch_drift(settings, model, run)


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def train_candidate(settings: str, snapshot: str, model: str, family: str, run: str) -> str:
    """Train, evaluate and register a new version."""
    from pipelines import steps

    return steps.train_candidate(settings, snapshot, model, family, run)


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def evaluate_version(settings: str, snapshot: str, model: str, version: str, run: str) -> str:
    """Evaluate a registered version by walk-forward on a snapshot."""
    from pipelines import steps

    return steps.evaluate_version(settings, snapshot, model, version, run)


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def gate_verdict(settings: str, model: str, version: str) -> str:
    """Return the gate's verdict on the version, `passed` or `refused`."""
    from pipelines import steps

    return steps.gate_verdict(settings, model, version)


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def propose(settings: str, cause_id: str, model: str, version: str, run: str) -> str:
    """Journal a proposal to roll the version out."""
    from pipelines import steps

    return steps.propose(settings, cause_id, model, version, run)


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def refuse(settings: str, cause_id: str, model: str, version: str, run: str) -> str:
    """Journal the refusal of the version, with the reasons."""
    from pipelines import steps

    return steps.refuse(settings, cause_id, model, version, run)
