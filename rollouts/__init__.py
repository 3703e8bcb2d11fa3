"""Canary rollouts: assign sleeves of capital to model versions on sequential evidence.

Here live the controller and its stages, the evidence (`rollouts.evidence`) and the study of its error rates
(`rollouts.validation`). Drift detection lives in `monitoring`; only `pipelines` starts a pipeline.

In come the prediction log, bars and model cards. Out go the rollout document on the registry and one
journaled transition for each change of it. Nothing else writes that document.

`RolloutController` runs the rollout of one model; `RolloutPolicy` holds its stages and error budget;
`BettingTest` and `PairedTest` are the anytime-valid tests underneath, and usable alone.
"""

from lazy_loader import attach_stub

__getattr__, __dir__, __all__ = attach_stub(__name__, __file__)
