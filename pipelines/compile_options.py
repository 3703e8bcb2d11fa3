"""Options of compiled steps on a cluster: image, resources, user, secrets by reference."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from alphaloop.settings.pipelines import PipelineSettings


@dataclass(frozen=True, slots=True)
class CompileOptions:
    """Options of every step of a pipeline; `None` settings leave the steps as the local runner takes them.

    Parameters
    ----------
    settings : PipelineSettings, optional
        Section `pipelines` of the settings.
    """

    settings: PipelineSettings | None = None

    def apply(self, task: Any) -> Any:
        """Give one task of a pipeline the options; returns the task.

        Kubeflow's cache is off: it knows nothing of the stores, and finds done steps by its parameters alone.
        """
        chosen = self.settings
        task.set_caching_options(False)
        if chosen is None:
            return task
        task.set_container_image(chosen.image)
        for value, give in (
            (chosen.cpu, task.set_cpu_request),
            (chosen.max_cpu, task.set_cpu_limit),
            (chosen.memory, task.set_memory_request),
            (chosen.max_memory, task.set_memory_limit),
        ):
            if value:
                give(value)
        if chosen.retries:
            task.set_retry(chosen.retries)
        self._place(task, chosen)
        return task

    @staticmethod
    def _place(task: Any, chosen: PipelineSettings) -> None:
        """Give a task what only Kubernetes knows."""
        from kfp import kubernetes

        if chosen.timeout_seconds:
            kubernetes.set_timeout(task, seconds=chosen.timeout_seconds)
        for label, value in chosen.node_selector.items():
            kubernetes.add_node_selector(task, label, value)
        kubernetes.set_security_context(
            task, run_as_user=chosen.user, run_as_group=chosen.group, run_as_non_root=chosen.non_root
        )
        for name, keys in _by_object(chosen.secrets).items():
            kubernetes.use_secret_as_env(task, secret_name=name, secret_key_to_env=keys)
        for name, keys in _by_object(chosen.config).items():
            kubernetes.use_config_map_as_env(task, config_map_name=name, config_map_key_to_env=keys)


def _by_object(references: Mapping[str, str]) -> dict[str, dict[str, str]]:
    """Return, of `VARIABLE: NAME/KEY`, the variable by key of each object."""
    found: dict[str, dict[str, str]] = defaultdict(dict)
    for variable, reference in references.items():
        name, _, key = reference.partition("/")
        found[name][key] = variable
    return dict(found)
