"""Rollouts: who answers which sleeve of capital, and on what evidence.

Here live the controller and its stages, the evidence (`rollouts.evidence`) and the study of its error rates
(`rollouts.validation`). No drift is looked for here, and no pipeline is started.

The prediction log and bars come in; the rollout document and its transitions go out.
"""
