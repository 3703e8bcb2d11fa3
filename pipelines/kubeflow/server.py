"""The Kubeflow Pipelines server behind its SDK; the SDK's client is built when it is first needed.

Every request has a time limit, and the SDK's errors are translated: a server that does not answer is a
`VendorError` that says so, and what the server does not know is `None`.
"""

from __future__ import annotations

import contextlib
import io
import json
import warnings
from collections.abc import Callable, Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

from alphaloop.errors import InputError, SettingsError, VendorError
from alphaloop.runtime.credentials import read_optional_secret, redact_secrets
from alphaloop.settings.pipelines import PipelineSettings

TOKEN = "KUBEFLOW_TOKEN"  # noqa: S105 - the name of the variable
MAX_REQUEST_SECONDS = 10.0
PAGE = 100
NOT_FOUND, UNAUTHORISED = 404, (401, 403)
MIN_REFUSAL, MAX_REFUSAL = 400, 499


class ServerAwayError(VendorError):
    """A Kubeflow server that does not answer, or answers that it cannot now."""


class KubeflowServer:
    """A Kubeflow Pipelines server.

    Parameters
    ----------
    settings : PipelineSettings
        Its address, namespace, experiment and service account.

    Raises
    ------
    SettingsError
        Where `pipelines.url` is not set.
    """

    def __init__(self, settings: PipelineSettings) -> None:
        if not settings.url:
            raise SettingsError(
                "pipelines.url is not set; set it to the address of the Kubeflow Pipelines server, as "
                "https://HOST"
            )
        self._settings = settings
        self._token = read_optional_secret(TOKEN)

    def runs(self, name: str) -> list[Any]:
        """Return the runs called `name` (`V2beta1Run`), the oldest first."""
        found = self._pages(self._api.runs.run_service_list_runs, "runs", name)
        return sorted(found, key=lambda run: (run.created_at is None, run.created_at, run.run_id))

    def run(self, run_id: str) -> Any | None:
        """Return a run by its id, or None where the server does not know it."""
        return self._ask(self._api.runs.run_service_get_run, run_id)

    def submit(self, name: str, package: Path, parameters: dict[str, str]) -> Any:
        """Start a run called `name` of the compiled pipeline in `package`; returns it."""
        models = self._models
        return self._ask(
            self._api.runs.run_service_create_run,
            models.V2beta1Run(
                display_name=name,
                experiment_id=self.experiment_id,
                pipeline_spec=_specification(package),
                runtime_config=models.V2beta1RuntimeConfig(parameters=parameters),
                service_account=self._settings.service_account or None,
            ),
        )

    def terminate(self, run_id: str) -> None:
        """Ask the server to end a run; nothing happens where it ended, or is not known."""
        self._ask(self._api.runs.run_service_terminate_run, run_id)

    def recurring(self, name: str) -> list[Any]:
        """Return the recurring runs called `name` (`V2beta1RecurringRun`), the oldest first."""
        list_them = self._api.recurring_runs.recurring_run_service_list_recurring_runs
        found = self._pages(list_them, "recurring_runs", name)
        return sorted(found, key=lambda one: (one.created_at is None, one.created_at, one.recurring_run_id))

    def create_recurring(
        self, name: str, description: str, cron: str, package: Path, parameters: dict[str, str]
    ) -> Any:
        """Create a recurring run, disabled; returns it."""
        models = self._models
        trigger = models.V2beta1Trigger(cron_schedule=models.V2beta1CronSchedule(cron=cron))
        return self._ask(
            self._api.recurring_runs.recurring_run_service_create_recurring_run,
            models.V2beta1RecurringRun(
                display_name=name,
                description=description,
                experiment_id=self.experiment_id,
                mode=models.RecurringRunMode.DISABLE,
                trigger=trigger,
                max_concurrency="1",
                no_catchup=True,
                pipeline_spec=_specification(package),
                runtime_config=models.V2beta1RuntimeConfig(parameters=parameters),
                service_account=self._settings.service_account or None,
            ),
        )

    def enable_recurring(self, recurring_run_id: str) -> None:
        """Let a recurring run start runs."""
        self._ask(self._api.recurring_runs.recurring_run_service_enable_recurring_run, recurring_run_id)

    def disable_recurring(self, recurring_run_id: str) -> None:
        """Let a recurring run start no more runs."""
        self._ask(self._api.recurring_runs.recurring_run_service_disable_recurring_run, recurring_run_id)

    def delete_recurring(self, recurring_run_id: str) -> None:
        """Delete a recurring run; nothing happens where it is gone."""
        self._ask(self._api.recurring_runs.recurring_run_service_delete_recurring_run, recurring_run_id)

    @cached_property
    def experiment_id(self) -> str:
        """Id of the settings' experiment, which is created where it is missing."""
        experiments, name = self._api.experiments, self._settings.experiment
        found = self._pages(experiments.experiment_service_list_experiments, "experiments", name)
        if not found:
            wanted = self._models.V2beta1Experiment(
                display_name=name, namespace=self._settings.namespace or None
            )
            found = [self._ask(experiments.experiment_service_create_experiment, wanted)]
        return str(found[0].experiment_id)

    @cached_property
    def _models(self) -> Any:
        import kfp_server_api

        return kfp_server_api

    @cached_property
    def _api(self) -> Any:
        """The SDK's client.

        With a namespace it asks the server nothing; without one it asks for the server's health up to five
        times, five seconds apart, so that one question of ours goes before.
        """
        import kfp

        token = self._token.reveal() if self._token else None
        settings = self._settings
        with self._translated(), _quiet():
            if not settings.namespace:
                configuration = self._models.Configuration(host=settings.url)
                if token:
                    configuration.api_key["authorization"] = token
                    configuration.api_key_prefix["authorization"] = "Bearer"
                health = self._models.HealthzServiceApi(self._models.ApiClient(configuration))
                health.healthz_service_get_healthz(_request_timeout=MAX_REQUEST_SECONDS)
            return kfp.Client(host=settings.url, existing_token=token, namespace=settings.namespace)

    def _pages(self, list_page: Callable[..., Any], field: str, name: str) -> list[Any]:
        predicate = {"operation": "EQUALS", "key": "display_name", "stringValue": name}
        asked: dict[str, Any] = {"filter": json.dumps({"predicates": [predicate]}), "page_size": PAGE}
        if self._settings.namespace:
            asked["namespace"] = self._settings.namespace
        found: list[Any] = []
        while True:
            page = self._ask(list_page, **asked)
            found += getattr(page, field) or [] if page is not None else []
            if page is None or not page.next_page_token:
                return [one for one in found if one.display_name == name]
            asked["page_token"] = page.next_page_token

    def _ask(self, call: Callable[..., Any], *given: Any, **named: Any) -> Any:
        with self._translated():
            try:
                return call(*given, **named, _request_timeout=MAX_REQUEST_SECONDS)
            except self._models.ApiException as error:
                if error.status == NOT_FOUND:
                    return None
                raise

    @contextlib.contextmanager
    def _translated(self) -> Iterator[None]:
        """Translate the SDK's errors, without the token that some repeat."""
        from urllib3.exceptions import HTTPError

        url = self._settings.url
        try:
            yield
        except self._models.ApiException as error:
            redact_secrets(error, [self._token] if self._token else [])
            if error.status in UNAUTHORISED:
                raise InputError(
                    f"the Kubeflow server {url} refuses the token ({error.status}); set {TOKEN}, or "
                    f"{TOKEN}_FILE to a file that holds it"
                ) from error
            reason = f"{error.status} {error.reason}".strip()
            if error.status is not None and MIN_REFUSAL <= error.status <= MAX_REFUSAL:
                raise VendorError(f"the Kubeflow server {url} refuses: {reason}: {error.body}") from error
            raise ServerAwayError(f"the Kubeflow server {url} cannot answer now: {reason}") from error
        except (HTTPError, OSError) as error:
            redact_secrets(error, [self._token] if self._token else [])
            raise ServerAwayError(
                f"the Kubeflow server {url} does not answer ({type(error).__name__}); look at pipelines.url, "
                "or wait until it is back"
            ) from error


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        yield


def _specification(package: Path) -> dict[str, Any]:
    """Return a compiled pipeline as Kubeflow's API takes it: its documents by their name."""
    import yaml

    documents = [one for one in yaml.safe_load_all(package.read_text(encoding="utf-8")) if one]
    specification = {"pipeline_spec": documents[0]}
    if len(documents) > 1:
        specification["platform_spec"] = documents[1]
    return specification
