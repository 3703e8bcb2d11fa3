"""Settings of pipelines: `pipelines.…`, where they run and what their steps get on a cluster."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from alphaloop.settings.base import Section


def _server_address(url: str) -> str:
    if url and not url.startswith(("http://", "https://")):
        raise ValueError("it is not of the form https://HOST or http://HOST:PORT")
    return url.rstrip("/")


def _references(given: dict[str, str]) -> dict[str, str]:
    """Return variables by reference, each as OBJECT/KEY."""
    for variable, reference in given.items():
        name, sign, key = reference.partition("/")
        if not (variable.isidentifier() and name and sign and key and "/" not in key):
            raise ValueError(f"'{variable} = {reference}' is not of the form VARIABLE = \"NAME/KEY\"")
    return given


References = Annotated[dict[str, str], AfterValidator(_references)]
"""Environment variables of a step by the object and key that hold their values."""


class PipelineSettings(Section):
    """The runner of pipelines, the Kubeflow server, and the containers of the steps."""

    runner: Literal["local", "kubeflow"] = Field(
        "local", description="where `pipeline serve` runs pipelines: local (this machine) or kubeflow"
    )
    url: Annotated[str, AfterValidator(_server_address)] = Field(
        "",
        description="address of the Kubeflow Pipelines server, as https://HOST; its token is read from "
        "KUBEFLOW_TOKEN, or from the file that KUBEFLOW_TOKEN_FILE names",
    )
    namespace: str = Field("", description="namespace of the runs on a server with several users")
    experiment: str = Field("alphaloop", min_length=1, description="Kubeflow's experiment of the runs")
    service_account: str = Field("", description="Kubernetes service account of the steps")
    poll_seconds: float = Field(
        5.0, gt=0, le=600, description="seconds between two questions about a run on a Kubeflow server"
    )
    image: str = Field("alphaloop:latest", min_length=1, description="container image of the steps")
    cpu: str = Field("", description="processors that a step asks for, as 2 or 500m")
    max_cpu: str = Field("", description="processors that a step may use")
    memory: str = Field("", description="memory that a step asks for, as 4Gi")
    max_memory: str = Field("", description="memory that a step may use")
    retries: int = Field(0, ge=0, le=10, description="times that Kubeflow repeats a step that failed")
    timeout_seconds: int = Field(
        0, ge=0, description="seconds after which Kubeflow ends a step; 0 means never"
    )
    node_selector: dict[str, str] = Field({}, description="labels of the nodes on which steps run")
    user: int | None = Field(None, ge=0, description="user id of the steps' processes")
    group: int | None = Field(None, ge=0, description="group id of the steps' processes")
    non_root: bool = Field(True, description="refuse to run a step's image as root")
    secrets: References = Field(
        {},
        description="variables of the steps from Kubernetes secrets, as {PGPASSWORD = 'journal/password'}",
    )
    config: References = Field(
        {},
        description="variables of the steps from config maps, as "
        "{ALPHALOOP_JOURNAL__URL = 'alphaloop/journal-url'}",
    )
