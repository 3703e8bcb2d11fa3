"""Kubeflow components, each of three lines that call `pipelines.steps`."""

from kfp import dsl

IMAGE = "alphaloop:latest"
"""Container image of the components on a cluster; the local runner uses this interpreter."""


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def freeze_snapshot(settings: str) -> str:
    """Return the id of the newest data snapshot."""
    from pipelines import steps

    return steps.freeze_snapshot(settings)


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def drift_report(settings: str, model: str, run: str) -> str:
    """Write Evidently's report on the last bars of the prediction log."""
    from pipelines import steps

    return steps.drift_report(settings, model, run)


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def train_candidate(settings: str, snapshot: str, model: str, family: str, run: str) -> str:
    """Train, evaluate and register a new version."""
    from pipelines import steps

    return steps.train_candidate(settings, snapshot, model, family, run)


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
