"""What travels with a run belongs to no machine; where stores are is the environment's word."""

from __future__ import annotations

from pathlib import Path

import pytest

from alphaloop.errors import InputError, SettingsError
from alphaloop.settings.settings import Settings, load_settings
from pipelines import catalogue
from pipelines.run_parameter import run_parameter, settings_digest, settings_of_run, step_environment

MARK = "machine-of-the-compiler"


def test_no_path_or_password_of_the_compiling_machine_travels(tmp_path: Path) -> None:
    """Neither the parameter nor any compiled pipeline holds a home, a file, an address or a secret of it."""
    home = tmp_path / MARK
    home.mkdir()
    members = home / "members.csv"
    members.write_text("symbol\n")
    settings = load_settings(
        home=home,
        data={"universe": str(members), "location": f"s3://{MARK}/data"},
        features={"online": f"redis://{MARK}:6379/0"},
        journal={"url": f"postgresql://alpha@{MARK}/journal"},
        registry={"uri": f"http://{MARK}", "token": f"{MARK}-token"},
        pipelines={"image": "registry/alphaloop:1"},
    )
    assert MARK not in run_parameter(settings)
    for name in catalogue.pipeline_names():
        path = catalogue.write_pipeline_yaml(name, tmp_path / f"{name}.yaml", settings.pipelines)
        text = path.read_text()
        assert MARK not in text
        assert str(tmp_path) not in text
        assert "registry/alphaloop:1" in text


def test_a_step_takes_results_from_the_run_and_stores_from_its_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its home is its own, its folds are those of the run, and both have one digest."""
    started = load_settings(home=tmp_path / "there", training={"folds": 3})
    monkeypatch.setenv("ALPHALOOP_HOME", str(tmp_path / "here"))
    found = settings_of_run(run_parameter(started))
    assert found.home == tmp_path / "here"
    assert found.training.folds == 3
    assert settings_digest(found) == settings_digest(started)


def test_a_step_with_another_file_refuses_and_names_the_variable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a file only the digest of its content travels, and another file gives another result."""
    members = tmp_path / "members.csv"
    members.write_text("symbol\n")
    parameter = run_parameter(load_settings(home=tmp_path, data={"universe": str(members)}))
    with pytest.raises(InputError, match=r"set ALPHALOOP_DATA__UNIVERSE in the step's"):
        settings_of_run(parameter)
    copied = tmp_path / "copied.csv"
    copied.write_bytes(members.read_bytes())
    monkeypatch.setenv("ALPHALOOP_DATA__UNIVERSE", str(copied))
    assert settings_of_run(parameter).data.universe == str(copied)


def test_a_run_that_an_earlier_release_compiled_gives_all_settings(tmp_path: Path) -> None:
    """Its parameter is the JSON of the settings, with the home in which its steps work."""
    earlier = Settings(home=tmp_path / "elsewhere")
    assert settings_of_run(earlier.model_dump_json()).home == tmp_path / "elsewhere"


def test_a_damaged_parameter_is_refused(tmp_path: Path) -> None:
    """Its digest does not fit, or it is none at all."""
    parameter = run_parameter(load_settings(home=tmp_path))
    with pytest.raises(SettingsError, match="do not fit its content"):
        settings_of_run(parameter.replace('"folds":4', '"folds":5'))
    with pytest.raises(SettingsError, match="start the run anew"):
        settings_of_run("{}")


def test_a_local_step_gets_the_secrets_that_a_dump_hides(tmp_path: Path) -> None:
    """The environment of a child on this machine opens the same registry as its parent."""
    settings = load_settings(home=tmp_path, registry={"uri": "http://registry", "token": "s3cret"})
    assert "s3cret" in step_environment(settings)["ALPHALOOP_REGISTRY"]


def test_the_former_name_of_a_pipeline_works_and_says_so(caplog: pytest.LogCaptureFixture) -> None:
    """`retrain` is `retraining` for one release."""
    assert catalogue.present_name("retrain") == "retraining"
    assert "is called 'retraining' now" in caplog.text
