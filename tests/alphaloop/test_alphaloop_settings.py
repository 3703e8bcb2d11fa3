"""Settings: from environment, file and defaults, and no typo passes for a default."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from alphaloop.errors import SettingsError
from alphaloop.settings import settings as configuration
from alphaloop.settings.settings import load_settings


@pytest.fixture(autouse=True)
def _empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in list(configuration.os.environ):
        if name.startswith(configuration.PREFIX):
            monkeypatch.delenv(name)


def test_variables_go_before_the_file_and_the_file_before_defaults(monkeypatch):
    """The nearest word counts: argument, variable, file, default."""
    Path("alphaloop.toml").write_text("[serving]\ngrpc_port = 9001\n[training]\ntrials = 2\n")
    monkeypatch.setenv("ALPHALOOP_SERVING__GRPC_PORT", "9002")
    found = load_settings()
    assert (found.serving.grpc_port, found.training.trials, found.trading.sleeves) == (9002, 2, 20)
    assert load_settings(home=Path("elsewhere")).home == Path("elsewhere")


@pytest.mark.parametrize(
    ("name", "near"),
    [
        ("ALPHALOOP_SERVING__GRPC_PROT", "nearest: serving.grpc_port"),
        ("ALPHALOOP_HOEM", "nearest: home"),
        ("ALPHALOOP_SERVING__PORT", "nearest: serving.grpc_port, serving.http_port, serving.metrics_port"),
        ("ALPHALOOP_CAPITAL", "nearest: trading.capital"),
        ("ALPHALOOP_X__Y", "the sections are client, data"),
    ],
)
def test_a_variable_that_does_not_exist_is_refused(monkeypatch, name, near):
    """A misspelt variable is named, with the few that are nearest and not with all."""
    monkeypatch.setenv(name, "1")
    with pytest.raises(SettingsError, match=rf"no setting '.*' \(variable {name}\); {near}") as caught:
        load_settings()
    assert len(str(caught.value)) < 220


def test_a_key_of_the_file_that_does_not_exist_is_refused():
    """A misspelt key is named, with the nearest."""
    Path("alphaloop.toml").write_text("[serving]\ngrpc_prot = 1\n")
    with pytest.raises(SettingsError, match=r"no setting 'serving\.grpc_prot'; nearest: serving\.grpc_port"):
        load_settings()
    Path("alphaloop.toml").write_text("nonsense = 1\n")
    with pytest.raises(SettingsError, match="no setting 'nonsense'"):
        load_settings()


def test_an_impossible_value_and_a_broken_file_are_refused_in_one_line(monkeypatch):
    """The error names the setting and its value, or the file."""
    monkeypatch.setenv("ALPHALOOP_TRADING__SLEEVES", "3")
    with pytest.raises(SettingsError, match=r"'trading\.sleeves' is '3': .*20") as caught:
        load_settings()
    assert "\n" not in str(caught.value)
    monkeypatch.delenv("ALPHALOOP_TRADING__SLEEVES")
    Path("alphaloop.toml").write_text("[serving\n")
    with pytest.raises(SettingsError, match=r"alphaloop\.toml is not valid TOML"):
        load_settings()


def test_every_setting_can_be_a_variable(monkeypatch):
    """The names that are listed as known are those that are accepted."""
    for name in ("training.trials", "retrain.matured_labels", "drift.window"):
        assert name in configuration.known_settings()
        monkeypatch.setenv("ALPHALOOP_" + name.upper().replace(".", "__"), "7")
    found = load_settings()
    assert (found.training.trials, found.retrain.matured_labels, found.drift.window) == (7, 7, 7)


@pytest.mark.parametrize("written", ["start = 2015-01-31", 'start = "2015-01-31"'])
def test_the_first_day_of_history_is_a_day(tmp_path, monkeypatch, written):
    """A day of TOML and a day as text are the same; what is none is refused with the way out."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "alphaloop.toml").write_text(f"[data]\n{written}\n")
    assert load_settings().data.start == "2015-01-31"
    monkeypatch.setenv("ALPHALOOP_DATA__START", "31.01.2015")
    with pytest.raises(SettingsError, match=r"'data.start' is '31.01.2015': .* it must be a day, as 2015"):
        load_settings()


def test_settings_are_frozen_and_paths_lie_under_home(tmp_path):
    """Nothing changes under a running loop, and every file is in the one folder, which is not made."""
    found = load_settings(home=tmp_path / "home")
    with pytest.raises(ValidationError):
        found.home = Path("x")
    paths = [value for value in vars(found.paths).values() if isinstance(value, Path)]
    assert len(paths) > 6
    assert all(path.is_relative_to(tmp_path / "home") for path in paths)
    assert not (tmp_path / "home").exists()


@pytest.mark.parametrize(
    ("weights", "why"),
    [
        ("[5, 25, 50]", "each share lies between 0 and 1"),
        ("[0.0]", "each share lies between 0 and 1"),
        ("[-1]", "each share lies between 0 and 1"),
        ("[0.5, 1.0]", "each share lies between 0 and 1"),
        ("[]", "give at least one share"),
        ("[0.5, 0.25, 0.05]", "each share is larger than the one before"),
        ("[0.25, 0.25]", "each share is larger than the one before"),
    ],
)
def test_canary_weights_are_rising_shares(monkeypatch, weights, why):
    """Percent, no share, the whole book, no entry and a falling list are refused; a share is explained."""
    monkeypatch.setenv("ALPHALOOP_ROLLOUT__WEIGHTS", weights)
    with pytest.raises(SettingsError) as caught:
        load_settings()
    assert str(caught.value).startswith("setting 'rollout.weights' is ")
    assert str(caught.value).endswith(f": {why}; shares of the sleeves, as [0.05, 0.25, 0.5]")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("serving.log_retention_days", "1000000"),
        ("serving.poll_seconds", "inf"),
        ("serving.poll_seconds", "1e12"),
        ("serving.max_request_bytes", str(2**32)),
        ("serving.last_good_seconds", "1e300"),
        ("serving.slow_ms", "nan"),
        ("serving.rate_limit", "inf"),
        ("serving.max_in_flight", "1" + 30 * "0"),
        ("data.keep_days", "1000000"),
        ("client.deadline_ms", "inf"),
        ("trading.max_gross", "inf"),
    ],
)
def test_a_number_beyond_all_sense_is_refused(monkeypatch, name, value):
    """What would end a thread or a server later, with a traceback, is refused in one line that names it."""
    monkeypatch.setenv("ALPHALOOP_" + name.upper().replace(".", "__"), value)
    with pytest.raises(SettingsError, match=rf"setting '{name}' is ") as caught:
        load_settings()
    assert "\n" not in str(caught.value)
