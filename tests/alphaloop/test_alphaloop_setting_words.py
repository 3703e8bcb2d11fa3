"""Settings in variables: lists between commas, Kubernetes' own variables, refusals in plain words."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from alphaloop.errors import InputError, SettingsError
from alphaloop.settings import settings as configuration
from alphaloop.settings.environment_variables import split_list
from alphaloop.settings.settings import PREFIX, Settings, known_settings, load_settings

# What Kubernetes 1.31 sets in a pod beside a Service `alphaloop` with the ports grpc (8001) and http (8000).
OF_A_SERVICE = {
    "ALPHALOOP_SERVICE_HOST": "10.96.21.7",
    "ALPHALOOP_SERVICE_PORT": "8001",
    "ALPHALOOP_SERVICE_PORT_GRPC": "8001",
    "ALPHALOOP_SERVICE_PORT_HTTP": "8000",
    "ALPHALOOP_PORT": "tcp://10.96.21.7:8001",
    "ALPHALOOP_PORT_8001_TCP": "tcp://10.96.21.7:8001",
    "ALPHALOOP_PORT_8001_TCP_PROTO": "tcp",
    "ALPHALOOP_PORT_8001_TCP_PORT": "8001",
    "ALPHALOOP_PORT_8001_TCP_ADDR": "10.96.21.7",
    "ALPHALOOP_PORT_53_UDP_ADDR": "10.96.21.7",
}
OF_ANOTHER_SERVICE = {
    name.replace("ALPHALOOP_", "ALPHALOOP_SERVING_", 1): value for name, value in OF_A_SERVICE.items()
}
PYTHONS_WORDS = re.compile(
    r"tuple|\bdict|None|instance of|Input should|pydantic|\bstr\b|\bint\b|\bbool|isoformat|unable to"
)


@pytest.fixture(autouse=True)
def _empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in list(configuration.os.environ):
        if name.startswith(PREFIX):
            monkeypatch.delenv(name)


def _variable(name: str) -> str:
    return PREFIX + name.upper().replace(".", "__")


@pytest.mark.parametrize("family", [OF_A_SERVICE, OF_ANOTHER_SERVICE], ids=["alphaloop", "alphaloop-serving"])
def test_variables_of_a_kubernetes_service_are_left_alone(monkeypatch, family):
    """A Service of the product's name beside a pod ends no command, and sets nothing."""
    for name, value in family.items():
        monkeypatch.setenv(name, value)
    assert load_settings() == Settings()


@pytest.mark.parametrize(
    "name",
    [
        "ALPHALOOP_SERVICE_HOSTS", "ALPHALOOP_SERVICE", "ALPHALOOP_PORTS", "ALPHALOOP_PORT_GRPC",
        "ALPHALOOP_PORT_8001_HTTP", "ALPHALOOP_PORT_8001_TCP_HOST", "ALPHALOOP_SERVING_PORT",
        "ALPHALOOP_SERVING_SERVICE_HOST",
    ],
)  # fmt: skip
def test_only_that_family_is_left_alone(monkeypatch, name):
    """A name that is almost of it, or of a Service that has no address, is a misspelt setting."""
    monkeypatch.setenv(name, "9001")
    with pytest.raises(SettingsError, match=f"variable {name}"):
        load_settings()


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("data.symbols", "AAPL, MSFT,BRK B", ("AAPL", "MSFT", "BRK B")),
        ("data.providers", "ccxt:binance,ccxt:kraken", ("ccxt:binance", "ccxt:kraken")),
        ("features.set", "return_5, edge = rank(sma(close, 5) / ema(close, 9)),", (
            "return_5", "edge = rank(sma(close, 5) / ema(close, 9))",
        )),
        ("features.files", "one.py,/srv/o'brien/two.py", (Path("one.py"), Path("/srv/o'brien/two.py"))),
        ("rollout.weights", "0.05,0.25,0.5", (0.05, 0.25, 0.5)),
        ("client.urls", "a:1,b:2", ("a:1", "b:2")),
        ("data.symbols", "", ()),
        ("data.symbols", '["A,B", "C"]', ("A,B", "C")),
    ],
)  # fmt: skip
def test_lists_are_written_between_commas(monkeypatch, name, text, expected):
    """Every setting that is a list takes words between commas, and JSON; commas of a formula part nothing."""
    monkeypatch.setenv(_variable(name), text)
    section, setting = name.split(".")
    assert getattr(getattr(load_settings(), section), setting) == expected


def test_every_list_of_the_settings_takes_commas(monkeypatch):
    """No setting that is a list asks for JSON."""
    fields = {
        f"{section}.{name}": field
        for section, group in Settings.model_fields.items()
        if hasattr(group.annotation, "model_fields")
        for name, field in group.annotation.model_fields.items()
    }
    lists = [name for name, field in fields.items() if "tuple" in str(field.annotation)]
    assert len(lists) >= 6
    values = {"rollout.weights": "0.25,0.5", "data.holidays": "2015-01-31, 2015-02-02"}
    for name in lists:
        value = values.get(name, "first, second")
        with monkeypatch.context() as patch:
            patch.setenv(_variable(name), value)
            section, setting = name.split(".")
            assert len(getattr(getattr(load_settings(), section), setting)) == 2, name


@pytest.mark.parametrize("value", ["-1", "x y", "[1", "null", "{}", "1e400", "", "[[1]]", '{"a": {"b": 1}}'])
def test_refused_variables_are_told_in_plain_words(monkeypatch, value):
    """Whatever is written into any setting, the one line has none of Python's words and names the setting."""
    refused = 0
    for name in known_settings():
        with monkeypatch.context() as patch:
            patch.setenv(_variable(name), value)
            try:
                load_settings()
            except InputError as error:
                refused += 1
                told = str(error)
                assert name in told or _variable(name) in told, told
                assert not PYTHONS_WORDS.search(told), told
                assert "\n" not in told
    assert refused > 0 or value == ""


@pytest.mark.parametrize(
    "value", ["3", "true", '"x"', "[]", "[1, {a = 2}]", "{a = [1]}", "1979-05-27", "-1.5"]
)
def test_refused_keys_of_the_file_are_told_in_plain_words(value):
    """The same holds of every key of the file, and of a section that is no table."""
    for name in known_settings():
        section, _, setting = name.rpartition(".")
        Path("alphaloop.toml").write_text(
            f"[{section}]\n{setting} = {value}\n" if section else f"{name} = {value}\n"
        )
        try:
            load_settings()
        except InputError as error:
            assert not PYTHONS_WORDS.search(str(error)), str(error)
    for section in ("serving", "data", "rollout"):
        Path("alphaloop.toml").write_text(f"{section} = {value}\n")
        with pytest.raises(InputError, match=section) as caught:
            load_settings()
        assert not PYTHONS_WORDS.search(str(caught.value)), str(caught.value)


def test_a_table_in_a_variable_is_asked_for_as_one(monkeypatch):
    """What a list may be is not told of a table."""
    monkeypatch.setenv("ALPHALOOP_DATA__THRESHOLDS", "jump=0.5")
    with pytest.raises(
        SettingsError, match=r"ALPHALOOP_DATA__THRESHOLDS is 'jump=0.5'; write a table in JSON"
    ):
        load_settings()


def test_parts_between_commas() -> None:
    """Blanks count for nothing, an empty part is not hidden, an unclosed bracket keeps the rest together."""
    assert split_list(" a, b, c, ") == ["a", "b", "c"]
    assert split_list("a,,b") == ["a", "", "b"]
    assert split_list(" ") == []
    assert split_list("f(a, [b, c]), d") == ["f(a, [b, c])", "d"]
    assert split_list("f(a, b") == ["f(a, b"]
