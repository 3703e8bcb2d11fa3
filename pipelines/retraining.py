"""Retraining pipeline: snapshot → drift report and candidate → gate → proposal, or a reasoned refusal."""

from kfp import dsl

from pipelines import components


@dsl.pipeline(
    name="retrain", description="Retrain a model after drift, and propose it if its gate lets it pass."
)
def retrain(settings: str, cause_id: str, model: str, family: str, run: str) -> None:
    """Retrain `model` with `family` for the request `cause_id`."""
    components.drift_report(settings=settings, model=model, run=run)
    snapshot = components.freeze_snapshot(settings=settings)
    candidate = components.train_candidate(
        settings=settings, snapshot=snapshot.output, model=model, family=family, run=run
    )
    verdict = components.gate_verdict(settings=settings, model=model, version=candidate.output)
    with dsl.If(verdict.output == "passed"):
        components.propose(
            settings=settings, cause_id=cause_id, model=model, version=candidate.output, run=run
        )
    with dsl.Else():
        components.refuse(
            settings=settings, cause_id=cause_id, model=model, version=candidate.output, run=run
        )
