"""The Kubeflow components: three lines each that call `pipelines.steps`."""

from kfp import dsl

IMAGE = "alphaloop:latest"
"""The image a component runs in on a cluster; the local runner uses this interpreter."""


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def freeze_snapshot(settings: str) -> str:
    """The id of the newest data snapshot."""
    from pipelines import steps

    return steps.freeze_snapshot(settings)


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def drift_report(settings: str, model: str, run: str) -> str:
    """Evidently's report on the bars that raised the alarm."""
    from pipelines import steps

    return steps.drift_report(settings, model, run)


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def train_candidate(settings: str, snapshot: str, model: str, family: str, run: str) -> str:
    """A new version, trained, judged and registered."""
    from pipelines import steps

    return steps.train_candidate(settings, snapshot, model, family, run)


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def gate_verdict(settings: str, model: str, version: str) -> str:
    """Whether the gate let the version pass."""
    from pipelines import steps

    return steps.gate_verdict(settings, model, version)


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def propose(settings: str, cause_id: str, model: str, version: str, run: str) -> str:
    """Ask for a canary."""
    from pipelines import steps

    return steps.propose(settings, cause_id, model, version, run)


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def refuse(settings: str, cause_id: str, model: str, version: str, run: str) -> str:
    """Say no, with the reasons."""
    from pipelines import steps

    return steps.refuse(settings, cause_id, model, version, run)
