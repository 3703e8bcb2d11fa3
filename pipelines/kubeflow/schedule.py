"""Schedules of pipelines as Kubeflow's recurring runs, changed so that one is enabled at any moment.

Kubeflow cannot change a recurring run. So the new one is created disabled and enabled, and then the old one
is deleted: wherever this is killed at least one is enabled, and the next call finishes. A slot that both fire
is run once, because its first step claims it in the journal.
"""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from alphaloop.errors import MissingStateError
from alphaloop.settings.settings import Settings
from pipelines import catalogue
from pipelines.cron import Cron
from pipelines.kubeflow.server import KubeflowServer
from pipelines.run_parameter import run_parameter

MARK = "alphaloop "
"""Start of the description of a recurring run of ours; the digest of what it runs follows."""


@dataclass(frozen=True, slots=True)
class PipelineSchedule:
    """The schedule of one pipeline.

    Parameters
    ----------
    settings : Settings
        Settings of the runs; section `pipelines` names the server and the options of the steps.
    pipeline : str
        Name of the pipeline.
    """

    settings: Settings
    pipeline: str

    @property
    def name(self) -> str:
        """Name of the recurring run, which its slots begin with."""
        return f"alphaloop-{self.pipeline}"

    def set(self, cron: str, arguments: Mapping[str, str], *, dry_run: bool = False) -> list[str]:
        """Make the schedule what is asked for; a schedule that is so already is left alone.

        Parameters
        ----------
        cron : str
            Times in six fields (second minute hour day month weekday), or five without seconds, in UTC.
        arguments : mapping of str to str
            Arguments of the pipeline.
        dry_run : bool
            Say what would be done, and do nothing.

        Returns
        -------
        list of str
            What was done, in order: `create`, `enable ID`, `delete ID`; empty where nothing was to do.

        Raises
        ------
        InputError
            For a cron expression or an argument that is wrong, or a token that is refused.
        VendorError
            Where the server does not answer.
        """
        server = KubeflowServer(self.settings.pipelines)
        times = Cron.parse(cron)
        given = catalogue.checked_arguments(self.pipeline, arguments)
        parameter = run_parameter(self.settings)
        with tempfile.TemporaryDirectory(prefix="alphaloop-schedule-") as folder:
            package = self._compiled(Path(folder) / "pipeline.yaml", times, given)
            digest = hashlib.sha256(package.read_bytes() + parameter.encode()).hexdigest()
            known = server.recurring(self.name)
            wanted = next((one for one in known if one.description == MARK + digest), None)
            done = [] if wanted else ["create"]
            if wanted is None and not dry_run:
                wanted = server.create_recurring(
                    self.name, MARK + digest, times.text, package, {"settings": parameter}
                )
        if wanted is None or not _is_enabled(wanted):
            done.append(f"enable {wanted.recurring_run_id}" if wanted else "enable the new one")
            if wanted is not None and not dry_run:
                server.enable_recurring(wanted.recurring_run_id)
        for one in known:
            if wanted is None or one.recurring_run_id != wanted.recurring_run_id:
                done.append(f"delete {one.recurring_run_id}")
                if not dry_run:
                    server.delete_recurring(one.recurring_run_id)
        return done

    def show(self) -> list[dict[str, Any]]:
        """Return the recurring runs of the schedule: id, times, whether enabled."""
        return [
            {
                "pipeline": self.pipeline,
                "id": one.recurring_run_id,
                "cron": one.trigger.cron_schedule.cron if one.trigger and one.trigger.cron_schedule else "",
                "enabled": _is_enabled(one),
            }
            for one in KubeflowServer(self.settings.pipelines).recurring(self.name)
        ]

    def disable(self) -> list[str]:
        """Disable the schedule, which `set` enables again; returns the ids.

        Raises `MissingStateError` where there is none.
        """
        server = KubeflowServer(self.settings.pipelines)
        return self._each(server, server.disable_recurring)

    def delete(self) -> list[str]:
        """Delete the schedule; returns the ids, none where there was none."""
        server = KubeflowServer(self.settings.pipelines)
        found = [one.recurring_run_id for one in server.recurring(self.name)]
        for recurring_run_id in found:
            server.delete_recurring(recurring_run_id)
        return found

    def _each(self, server: KubeflowServer, act: Any) -> list[str]:
        found = [one.recurring_run_id for one in server.recurring(self.name)]
        if not found:
            raise MissingStateError(
                f"pipeline '{self.pipeline}' has no schedule on {self.settings.pipelines.url}; `alphaloop "
                f"pipeline schedule {self.pipeline} --cron …` makes one"
            )
        for recurring_run_id in found:
            act(recurring_run_id)
        return found

    def _compiled(self, path: Path, cron: Cron, arguments: Mapping[str, str]) -> Path:
        from pipelines.compile_options import CompileOptions
        from pipelines.definitions.recurring import define_recurring

        options = self.settings.pipelines
        recurring = define_recurring(
            catalogue.find_pipeline(self.pipeline, options),
            CompileOptions(options),
            schedule=self.name,
            cron=cron.text,
            arguments=arguments,
        )
        return catalogue.compile_to(recurring, path)


def _is_enabled(recurring: Any) -> bool:
    return "ENABLE" in (recurring.mode, str(recurring.status).removesuffix("D"))
