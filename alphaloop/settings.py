"""Settings: `ALPHALOOP_…` variables, then `alphaloop.toml`, then the defaults below.

Nested names join with two underscores: `ALPHALOOP_SERVING__GRPC_PORT=9001`; lists are words between commas,
or JSON. A key that does not exist is an error in both places, so that a typo cannot pass for a default; only
the variables that Kubernetes sets for a Service called `alphaloop` are left alone.
"""

from __future__ import annotations

import json
import os
import tomllib
from datetime import date, datetime
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal, get_origin

from pydantic import BeforeValidator, Field, ValidationError, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict
from pydantic_settings.exceptions import SettingsError as MalformedVariableError
from pydantic_settings.sources import PydanticBaseSettingsSource, TomlConfigSettingsSource

from alphaloop.errors import ImpossibleValueError, SettingsError
from alphaloop.paths import Paths
from alphaloop.refusals import refusal, unknown, unparsed
from alphaloop.rollout import require_share
from alphaloop.rollout_settings import RolloutSettings
from alphaloop.section import Section
from alphaloop.variables import Variables, is_of_a_service, listed

PREFIX = "ALPHALOOP_"
CONFIG_FILE = "alphaloop.toml"
# A hundred years, and thirty days: beyond what any of these can mean, within what the code's clocks can take.
MOST_DAYS, MOST_SECONDS = 36_500, 30 * 86_400.0


def _day(value: Any) -> Any:
    """A day as text; TOML has days of its own kind."""
    if isinstance(value, date) and not isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, str) and value:
        try:
            date.fromisoformat(value)
        except ValueError as error:
            raise ValueError("it is no day, and it must be a day, as 2015-01-31") from error
    return value


class DataSettings(Section):
    """Which market data the loop runs on."""

    source: str = "sp500-20"
    symbols: tuple[str, ...] = Field((), description="empty means every symbol of the source")
    providers: tuple[str, ...] = Field(
        (), description="sources in the order in which they are believed; empty means `source` alone"
    )
    start: Annotated[str, BeforeValidator(_day)] = Field(
        "", description="first day of history, as 2015-01-31; empty means as far back as the source has bars"
    )
    quality: dict[str, str] = Field(
        {}, description="policy by quality rule, as {unique = 'repair'}; by default errors reject"
    )
    thresholds: dict[str, float] = Field({}, description="limits of quality rules by name")
    holidays: tuple[Annotated[str, BeforeValidator(_day)], ...] = Field(
        (), description="days on which the market was closed, whatever its calendar says, as 2012-10-29"
    )
    keep_snapshots: int = Field(0, ge=0, description="snapshots to keep of each source; 0 keeps all")
    keep_days: int = Field(
        0, ge=0, le=MOST_DAYS, description="days for which a snapshot is kept; 0 keeps all"
    )


class FeatureSettings(Section):
    """What the online store keeps of each symbol."""

    window: int = Field(
        16, ge=1, le=100_000, description="rows of features kept online per symbol; the longest lookback"
    )
    set: tuple[str, ...] = Field(
        (),
        description="names or `name = formula` in the order of a model's inputs; empty means the default set",
    )
    formulas: dict[str, str] = Field({}, description="formulas by name, to be used in the set and in others")
    files: tuple[Path, ...] = Field((), description="Python files that define indicators of one's own")
    warmup: bool = Field(
        True,
        description="no value before it is within 1 % of one from a longer history; refuse what never is",
    )
    online: str = Field("sqlite", description="online store: sqlite, or redis://host:port/db")
    offline: str = Field("", description="folder or s3://bucket/path of features at rest; empty means home")


class TrainingSettings(Section):
    """How models are tuned and judged."""

    horizon: int = Field(5, ge=1, description="bars from the obtainable fill to the end of the label")
    trials: int = Field(6, ge=0, description="Ray Tune trials per family; 0 takes the family's defaults")
    seed: int = 20180102
    first_test: str = Field(
        "",
        description="where walk-forward tests start: a share of the bars, as 0.5, or a day, as 2019-07-01; "
        "empty takes first_test_year",
    )
    first_test_year: int | None = Field(
        None,
        ge=1678,
        le=2261,
        description="calendar year in which walk-forward tests start; by default 2010, or half of the bars "
        "where these do not reach far enough to both sides of it",
    )
    folds: int = Field(4, ge=2, description="walk-forward folds")
    permutations: int = Field(
        1_000, ge=1_000, le=1_000_000, description="permutations of the names that an IC is held against"
    )
    max_pvalue: float = Field(
        0.01, gt=0, le=1, description="largest p-value of an IC among the permutations that passes the gate"
    )
    baseline_max_pvalue: float = Field(
        0.05,
        gt=0,
        le=0.5,
        description="the same, and the level of its t-statistic, for a first champion that learns nothing",
    )

    @field_validator("first_test", mode="before")
    @classmethod
    def _share_or_day(cls, given: object) -> object:
        text = str(given).strip() if isinstance(given, (int, float, date)) else given
        if not isinstance(text, str) or not text:
            return text
        try:
            share = float(text)
        except ValueError:
            return _day_of_test(text)
        if not 0 < share < 1:
            raise ValueError(f"'{text}' is no share between 0 and 1, and no day as 2019-07-01")
        return text


def _day_of_test(text: str) -> str:
    try:
        return date.fromisoformat(text).isoformat()
    except ValueError:
        raise ValueError(f"'{text}' is no share of the bars, as 0.5, and no day, as 2019-07-01") from None


def _unbracketed(value: Any) -> Any:
    """An address without the brackets that IPv6 has in URLs."""
    return value[1:-1] if isinstance(value, str) and value.startswith("[") and value.endswith("]") else value


class ServingSettings(Section):
    """Where and how predictions are served."""

    host: Annotated[str, BeforeValidator(_unbracketed)] = "127.0.0.1"
    grpc_port: int = Field(8001, ge=1, le=65535)
    model: str = "equities"
    runtime: Literal["ray", "process"] = "ray"
    poll_seconds: float = Field(
        1.0, gt=0, le=3_600, description="age at which the rollout document is read again"
    )
    allow_drills: bool = Field(False, description="honour fault injection by a rollout's override")
    http_port: int = Field(8000, ge=0, le=65535, description="HTTP; 0 serves none, in one process only")
    metrics_port: int = Field(8002, ge=0, le=65535, description="Prometheus metrics; 0 serves none")
    tls_certificate: Path | None = Field(None, description="PEM chain of the process host; turns TLS on")
    tls_key: Path | None = Field(None, description="PEM key that belongs to tls_certificate")
    tls_client_ca: Path | None = Field(None, description="PEM of the CA of client certificates; mutual TLS")
    tokens: Path | None = Field(
        None,
        description="file of bearer tokens, a line each: client, scopes (predict,admin), token or sha256:…",
    )
    rate_limit: float = Field(
        0.0, ge=0, le=1e9, description="requests a second of each client; 0 sets no limit"
    )
    rate_burst: int = Field(100, ge=1, le=10**9, description="requests that a client may send at once")
    max_in_flight: int = Field(
        64, ge=1, le=100_000, description="requests held at once; more are refused at once"
    )
    batch_symbols: int = Field(
        64,
        ge=0,
        le=10**6,
        description="most symbols of requests that wait at once to score in one run; 0: each alone",
    )
    max_request_bytes: int = Field(16 * 2**20, ge=1024, le=2**30, description="a larger request is refused")
    log_retention_days: int = Field(
        0, ge=0, le=MOST_DAYS, description="days the prediction log keeps; 0 keeps all"
    )
    log_max_bytes: int = Field(
        16 * 2**30,
        ge=0,
        le=2**50,
        description="bytes that the prediction log may have on disk, the oldest go first; 0 sets no limit",
    )
    replicas: int = Field(
        1, ge=1, le=10_000, description="replicas of the Ray host; the least where it may scale"
    )
    max_replicas: int = Field(
        0, ge=0, le=10_000, description="most replicas of the Ray host; 0: their number is fixed"
    )
    target_busy: float = Field(0.6, gt=0, le=1, description="share of a core a replica may use on average")
    breaker_failures: int = Field(
        5, ge=1, le=10_000, description="failures of a version before it is left alone"
    )
    breaker_seconds: float = Field(
        10.0, gt=0, le=MOST_SECONDS, description="how long they count, and it is left alone"
    )
    slow_ms: float = Field(
        250.0,
        gt=0,
        le=1e3 * MOST_SECONDS,
        description="a version whose scoring mostly takes longer is left alone",
    )
    last_good_seconds: float = Field(
        3600.0,
        ge=0,
        le=MOST_SECONDS,
        description="how long the last good scores may answer, marked stale; 0 never",
    )
    signing_key: Path | None = Field(
        None, description="PEM of the Ed25519 public key; a version that is not signed with it is refused"
    )


class ClientSettings(Section):
    """Whom the commands and the executor ask for predictions, and how."""

    urls: Annotated[tuple[str, ...], BeforeValidator(listed)] = Field(
        (), description="host:port of each server, by commas or as a list; empty means that of `serving`"
    )
    authority: Path | None = Field(None, description="PEM of the CA of the servers; turns TLS on")
    certificate: Path | None = Field(None, description="PEM chain of the client, for mutual TLS")
    key: Path | None = Field(None, description="PEM key that belongs to certificate")
    token: Path | None = Field(None, description="file of the client's bearer token, and of nothing else")
    deadline_ms: float = Field(
        2_000.0, gt=0, le=1e3 * MOST_SECONDS, description="time for an answer; the executor has its own"
    )
    attempts: int = Field(
        5, ge=1, le=10_000, description="how often a request may be sent when its way fails"
    )
    hedge_ms: float = Field(
        200.0, ge=0, le=1e3 * MOST_SECONDS, description="a later answer is asked of a second server; 0 never"
    )
    hedge_every: int = Field(10, ge=1, description="one request in so many may be asked a second time")


class TradingSettings(Section):
    """The book, its limits and its costs."""

    capital: int = Field(1_000_000, gt=0)
    sleeves: int = Field(20, ge=20, description="virtual books; canary shares are shares of these")
    commission_bps: float = Field(1.0, ge=0)
    half_spread_bps: float = Field(4.0, ge=0)
    tilt: float = Field(0.5, ge=0)
    rate: float = Field(0.1, gt=0, le=1)
    band: float = Field(0.05, ge=0)
    max_gross: float = Field(1.0, gt=0)
    max_weight: float | None = Field(
        None,
        gt=0,
        le=1,
        description="cap of one name; not set, it is max(0.15, min(1, 2.5 / names)) of a book's equity",
    )
    max_drawdown: float = Field(0.40, gt=0, le=1)
    max_bar_age_seconds: float = Field(
        3_600, gt=0, description="a bar older than this is journaled as missed: booked, not traded"
    )
    prediction_deadline_ms: int = Field(2_000, gt=0)


class DriftSettings(Section):
    """How the drift monitor looks at the prediction log."""

    window: int = Field(10, ge=5, le=21, description="bars of live features compared with training")
    alarms_per_year: float = Field(0.5, gt=0, le=1, description="false alarms a year allowed in training")
    episode_gap: int = Field(21, ge=1, description="alarms closer than this are one episode")


class RetrainSettings(Section):
    """When an alarm leads to a retraining, and of what."""

    family: str = "lightgbm"
    matured_labels: int = Field(42, ge=1, description="bars of matured labels after the alarm before a refit")


class Settings(BaseSettings):
    """Everything that can be set. Frozen; make another with `model_copy`."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, env_nested_delimiter="__", extra="forbid", frozen=True, toml_file=CONFIG_FILE
    )

    home: Path = Field(Path("runs/local"), description="where snapshots, registry, journal and logs live")
    data: DataSettings = DataSettings()
    features: FeatureSettings = FeatureSettings()
    training: TrainingSettings = TrainingSettings()
    serving: ServingSettings = ServingSettings()
    client: ClientSettings = ClientSettings()
    trading: TradingSettings = TradingSettings()
    drift: DriftSettings = DriftSettings()
    retrain: RetrainSettings = RetrainSettings()
    rollout: RolloutSettings = RolloutSettings()

    @classmethod
    def settings_customise_sources(  # type: ignore[override]
        cls, settings_cls: type[BaseSettings], init_settings: Any, env_settings: Any, **_: Any
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return init_settings, Variables(settings_cls), TomlConfigSettingsSource(settings_cls)

    @cached_property
    def paths(self) -> Paths:
        """The files and folders under `home`."""
        return Paths(self.home.resolve())


def load(**overrides: Any) -> Settings:
    """Settings from environment, file and `overrides`; raises `SettingsError` in one line."""
    _refuse_unknown_variables()
    from alphaloop.costs import CostModel

    settings = _parsed(overrides)
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
            raise SettingsError(unknown(name, known_settings())) from error
        raise SettingsError(refusal(first)) from error
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
    return unparsed(variable, value, table=field is None or get_origin(field.annotation) is not tuple)


def from_json(text: str) -> Settings:
    """The settings that another process wrote with `model_dump_json`."""
    return Settings(**json.loads(text))


def known_settings() -> list[str]:
    """Every setting by its dotted name."""
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
        ours = variable.startswith(PREFIX) and not is_of_a_service(variable, dict(os.environ))
        if ours and variable.upper() not in known:
            name = variable.removeprefix(PREFIX).lower().replace("__", ".")
            raise SettingsError(unknown(name, known_settings(), f"variable {variable}"))
