"""The command to call after each verb, by situation."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from types import MappingProxyType

NEXT_STEPS: Mapping[str, str] = MappingProxyType(
    {
        "demo": "alphaloop init my-desk",
        "doctor": "alphaloop demo",
        "init": "alphaloop config check",
        "init elsewhere": "cd {folder} && alphaloop config check",
        "config show": "alphaloop config check",
        "config check": "alphaloop data check",
        "data list": "alphaloop data check SOURCE",
        "data show": "alphaloop data check",
        "data show named": "alphaloop data check {source}",
        "data universe": "alphaloop data check",
        "data actions": "alphaloop data check",
        "data check": "alphaloop features build",
        "features list": "alphaloop features build",
        "features select": "alphaloop features build",
        "features build": "alphaloop train momentum",
        "features materialize": "alphaloop serve",
        "train champion": "alphaloop features materialize",
        "train challenger": "alphaloop rollout start {version} --model {model}",
        "train refused": "alphaloop models show {model} {version}",
        "train refused, no champion": (
            "alphaloop rollout crown {version} --model {model} --override NAME --reason WHY"
        ),
        "models list": "alphaloop models show",
        "models show": "alphaloop backtest {model} --version {version}",
        "models sign": "alphaloop serve",
        "serve": "alphaloop predict",
        "predict": "alphaloop trade --broker paper",
        "backtest": "alphaloop features materialize",
        "trade": "alphaloop audit verify",
        "book show": "alphaloop audit verify",
        "book carry": "alphaloop trade --broker paper",
        "monitor": "alphaloop rollout status",
        "rollout status": "alphaloop trade --broker paper",
        "rollout start": "alphaloop features materialize",
        "rollout crown": "alphaloop features materialize",
        "rollout promote": "alphaloop rollout status",
        "rollout abort": "alphaloop rollout status",
        "rollout simulate": "alphaloop rollout start VERSION",
        "pipeline list": "alphaloop pipeline run retraining",
        "pipeline run": "alphaloop models list",
        "journal migrate": "alphaloop audit verify",
        "journal backup": "alphaloop audit verify",
        "journal restore": "alphaloop audit verify",
        "audit verify": "alphaloop audit replay",
        "audit adopt": "alphaloop audit verify",
        "audit replay every": "alphaloop audit providers ORDER_ID",
        "audit replay": "alphaloop audit providers {order_id}",
    }
)
"""Commands by situation; a situation begins with its verb. Words in capitals are for the user to fill in."""
ENDS = frozenset(
    {
        "config reference", "completion", "data stream", "data prune", "features repo", "features parity",
        "serve config", "export bento", "export triton", "rollout metrics", "pipeline compile",
        "audit providers", "audit normal-form",
        "control run", "pipeline serve", "pipeline schedule", "features stream", "predictions compact",
    }
)  # fmt: skip
"""Verbs with no next step: they print what another program reads, or end a path."""


def next_step(situation: str, **values: object) -> str:
    """Return the command of a situation, with `values` quoted for a shell in place of its fields.

    Raises `KeyError` for a situation that is not in `NEXT_STEPS`, or a field without a value.

    Examples
    --------
    >>> next_step("models show", model="my desk", version="3")
    "alphaloop backtest 'my desk' --version 3"
    """
    return NEXT_STEPS[situation].format(**{name: shlex.quote(str(value)) for name, value in values.items()})
