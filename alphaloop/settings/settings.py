"""Settings from `ALPHALOOP_…` variables, then from `alphaloop.toml`, then from defaults.

Nested names join with two underscores: `ALPHALOOP_SERVING__GRPC_PORT=9001`. Lists are words between commas,
or JSON. A key that does not exist is an error in both places, so that a typo cannot be mistaken for a
default; only the variables that Kubernetes sets for a Service called `alphaloop` are ignored.
"""

from __future__ import annotations

import json
import os
import tomllib
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, get_origin

from pydantic import BeforeValidator, Field, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict
from pydantic_settings.exceptions import SettingsError as MalformedVariableError
from pydantic_settings.sources import PydanticBaseSettingsSource, TomlConfigSettingsSource

from alphaloop.errors import ImpossibleValueError, SettingsError
from alphaloop.plugins import use_files
from alphaloop.settings.base import Section
from alphaloop.settings.client import ClientSettings
from alphaloop.settings.contradictions import require_no_contradiction
from alphaloop.settings.data import DataSettings
from alphaloop.settings.drift import DriftSettings
from alphaloop.settings.environment_variables import EnvironmentVariables, is_kubernetes_service_variable
from alphaloop.settings.features import FeatureSettings
from alphaloop.settings.journal import JournalSettings
from alphaloop.settings.locations import Locations
from alphaloop.settings.paths import Paths
from alphaloop.settings.pipelines import PipelineSettings
from alphaloop.settings.registry import RegistrySettings
from alphaloop.settings.retrain import RetrainSettings
from alphaloop.settings.rollout import RolloutSettings
from alphaloop.settings.serving import ServingSettings
from alphaloop.settings.storage import StorageSettings
from alphaloop.settings.trading import TradingSettings
from alphaloop.settings.training import TrainingSettings
from alphaloop.settings.validation_messages import refusal_message, unknown_setting_message, unparsed_message
from alphaloop.sleeve_plan import require_share

PREFIX = "ALPHALOOP_"
CONFIG_FILE = "alphaloop.toml"


def _folder(value: Any) -> Any:
    """Refuse a URL, which would become a folder of that name."""
    if isinstance(value, str | Path) and (str(value).startswith("s3:/") or "://" in str(value)):
        raise ValueError(
            "it is a URL, and `home` is a folder of this machine; set storage.location for stores in a bucket"
        )
    return value


class Settings(BaseSettings):
    """All settings, frozen; `model_copy` makes a changed copy.

    Each section is a class in `alphaloop.settings`. Use `load_settings` to read environment and file with
    errors in plain words.

    Parameters
    ----------
    home : Path
        Folder of snapshots, registry, journal and logs.
    data, features, training, serving, client, trading, drift, retrain, rollout, journal, storage, registry,
    pipelines
        One section per part of the platform.
    """

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, env_nested_delimiter="__", extra="forbid", frozen=True, toml_file=CONFIG_FILE
    )

    home: Annotated[Path, BeforeValidator(_folder)] = Field(
        Path("runs/local"), description="folder of snapshots, registry, journal and logs"
    )
    plugins: tuple[Path, ...] = Field(
        (),
        description="Python files of one's own, or folders of them, that define sources, indicators, model "
        "families, strategies or brokers",
    )
    data: DataSettings = DataSettings()
    features: FeatureSettings = FeatureSettings()
    training: TrainingSettings = TrainingSettings()
    serving: ServingSettings = ServingSettings()
    client: ClientSettings = ClientSettings()
    trading: TradingSettings = TradingSettings()
    drift: DriftSettings = DriftSettings()
    retrain: RetrainSettings = RetrainSettings()
    rollout: RolloutSettings = RolloutSettings()
    journal: JournalSettings = JournalSettings()
    storage: StorageSettings = StorageSettings()
    registry: RegistrySettings = RegistrySettings()
    pipelines: PipelineSettings = PipelineSettings()

    @classmethod
    def settings_customise_sources(  # type: ignore[override]
        cls, settings_cls: type[BaseSettings], init_settings: Any, env_settings: Any, **_: Any
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Order the sources: arguments first, then environment variables, then the file."""
        return init_settings, EnvironmentVariables(settings_cls), TomlConfigSettingsSource(settings_cls)

    @cached_property
    def paths(self) -> Paths:
        """The files and folders under `home`."""
        return Paths(self.home.resolve())

    @cached_property
    def locations(self) -> Locations:
        """Where snapshots, offline features, prediction log and calibrations are."""
        return Locations.of(self.paths, self.storage, self.data, self.features, self.serving, self.drift)


def load_settings(**overrides: Any) -> Settings:
    """Read the settings from environment, file and `overrides`, and use the plug-ins that they name.

    Parameters
    ----------
    **overrides
        Values that take precedence over environment and file: `home`, or sections as mappings.

    Returns
    -------
    Settings
        The checked settings.

    Raises
    ------
    SettingsError
        In one line, for a setting that does not exist, has an impossible value or contradicts another, and
        for a file that cannot be read.
    PluginError
        For a file of plug-ins that is not there.
    InputError
        For a canary weight that covers no sleeve or all sleeves.
    """
    _refuse_unknown_variables()
    from alphaloop.costs import CostModel

    settings = _parsed(overrides)
    settings = settings.model_copy(update={"plugins": tuple(path.resolve() for path in settings.plugins)})
    use_files(settings.plugins)
    require_no_contradiction(settings.serving, settings.journal, settings.registry)
    try:
        CostModel.from_settings(settings.trading)
    except ImpossibleValueError as error:
        raise SettingsError(str(error)) from error
    for weight in settings.rollout.weights:
        require_share(weight, settings.trading.sleeves, "rollout.weights")
    return settings


def _parsed(overrides: dict[str, Any]) -> Settings:
    try:
        return Settings(**overrides)
    except ValidationError as error:
        first = error.errors()[0]
        if first["type"] == "extra_forbidden":
            name = ".".join(str(part) for part in first["loc"])
            raise SettingsError(unknown_setting_message(name, known_settings())) from error
        raise SettingsError(refusal_message(first)) from error
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(f"{CONFIG_FILE} is not valid TOML: {error}") from error
    except UnicodeDecodeError as error:
        raise SettingsError(f"{CONFIG_FILE} is not text in UTF-8: {error}; save it as such") from error
    except OSError as error:
        raise SettingsError(f"{CONFIG_FILE} cannot be read: {error.strerror}") from error
    except MalformedVariableError as error:
        raise SettingsError(_unparsed(error)) from error


def _unparsed(error: Exception) -> str:
    value = getattr(error.__cause__, "doc", "")
    names = [name for name, text in os.environ.items() if name.upper().startswith(PREFIX) and text == value]
    variable = names[0] if names else PREFIX
    section, _, setting = variable.removeprefix(PREFIX).lower().partition("__")
    kind = Settings.model_fields[section].annotation if section in Settings.model_fields else None
    field = kind.model_fields.get(setting) if isinstance(kind, type) and issubclass(kind, Section) else None
    return unparsed_message(variable, value, table=field is None or get_origin(field.annotation) is not tuple)


def settings_from_json(text: str) -> Settings:
    """Restore the settings that another process wrote with `model_dump_json`."""
    settings = Settings(**json.loads(text))
    use_files(settings.plugins)
    return settings


def known_settings() -> list[str]:
    """List every setting by its dotted name."""
    names = []
    for name, info in Settings.model_fields.items():
        kind = info.annotation
        if isinstance(kind, type) and issubclass(kind, Section):
            names += [f"{name}.{inner}" for inner in kind.model_fields]
        else:
            names.append(name)
    return names


def _refuse_unknown_variables() -> None:
    known = {PREFIX + name.upper().replace(".", "__") for name in known_settings()}
    known |= {PREFIX + name.upper() for name in Settings.model_fields}
    for variable in os.environ:
        ours = variable.startswith(PREFIX) and not is_kubernetes_service_variable(variable, dict(os.environ))
        if ours and variable.upper() not in known:
            name = variable.removeprefix(PREFIX).lower().replace("__", ".")
            raise SettingsError(unknown_setting_message(name, known_settings(), f"variable {variable}"))
