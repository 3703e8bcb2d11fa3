"""Plug-ins come from folders of ours and from distributions of the user's, found by entry point."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from alphaloop.errors import PluginError
from alphaloop.plugins import Plugin, by_name

PROJECT = """
[build-system]
requires = ["setuptools"]
build-backend = "setuptools.build_meta"
[project]
name = "acme-plugins"
version = "1.0"
[tool.setuptools]
packages = ["acme"]
[project.entry-points."alphaloop.sources"]
acme = "acme.source"
[project.entry-points."alphaloop.indicators"]
acme = "acme.indicators"
[project.entry-points."alphaloop.families"]
acme = "acme.family"
[project.entry-points."alphaloop.brokers"]
acme = "acme.broker"
[project.entry-points."alphaloop.strategies"]
acme = "acme.strategy"
"""
SOURCE = """
from dataclasses import dataclass
from marketdata.sources.simulated import SOURCE as SIMULATED
class Acme:
    name, description, calendar, adjusted_only = "acme", "Acme's bars.", SIMULATED.calendar, True
    def symbols(self):
        return ("ACME",)
    def history(self, *arguments, **named):
        return SIMULATED.history(*arguments, **named)
SOURCE = Acme()
"""
INDICATORS = """
from features.engine.indicator import indicator
from features.engine.operators.window import Window
@indicator(group="momentum indicators", reference="Acme 2026")
def acme_gap(length: int = 3):
    "The close less that of `length` bars before."
    return Window(lambda close: close[..., -1] - close[..., 0], length, exact=True)
"""
FAMILY = """
from dataclasses import replace
from models.zoo.baselines.momentum import FAMILY as MOMENTUM
FAMILY = replace(MOMENTUM, name="acme-momentum")
"""
SOURCES = """
from marketdata.sources import simulated
class Desk:
    prefix, description = "desk", "The desk's sources."
    def names(self):
        return ("one",)
    def find(self, name):
        return simulated.SOURCE
FAMILY = Desk()
"""
BROKER = "from trading.brokers.paper import BROKER\n"
STRATEGY = """
from dataclasses import dataclass
@dataclass(frozen=True)
class Still:
    name = "acme-still"
    share: float = 0.0
    def weights(self, view):
        return view.current
STRATEGY = Still
"""
ASKED = """
from features.catalogue import build_indicator
from features.catalogue import indicator_names as indicators
from marketdata.sources.registry import source_names as sources
from models.zoo.registry import family_names as families
from trading.broker import broker_names as brokers
from trading.strategy import find_strategy
print("acme" in sources(), "acme_gap" in indicators(), "acme-momentum" in families(), "acme" in brokers())
print(find_strategy("acme-still", {"share": 1}).share == 1.0)
print(build_indicator("acme_gap").lookback)
"""
LIST = """
import os, sys
from cli.main import run_command
os.chdir({folder!r})
sys.exit(run_command(["data", "list"]))
"""


def python(program: str, site: Path) -> subprocess.CompletedProcess[str]:
    """Run `program` where the distributions under `site` are installed."""
    environment = {**os.environ, "PYTHONPATH": str(site), "PYTHONSAFEPATH": "1"}
    return subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True, timeout=120
    )


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder into which a small distribution with one plug-in of each kind was installed."""
    folder, site = tmp_path_factory.mktemp("acme"), tmp_path_factory.mktemp("site")
    (folder / "pyproject.toml").write_text(PROJECT)
    (folder / "acme").mkdir()
    texts = {"__init__": "", "source": SOURCE, "indicators": INDICATORS, "family": FAMILY, "broker": BROKER}
    texts["strategy"] = STRATEGY
    for name, text in texts.items():
        (folder / "acme" / f"{name}.py").write_text(text)
    pip = [
        sys.executable,
        "-m",
        "pip",
        "install",
        "--quiet",
        "--no-deps",
        "--no-index",
        "--no-build-isolation",
    ]
    subprocess.run([*pip, "--target", str(site), str(folder)], check=True, capture_output=True, timeout=120)
    return site


def test_a_distribution_adds_one_plugin_of_each_kind(installed: Path) -> None:
    """Source, indicator, family, broker and strategy are found by name, and the indicator can be applied."""
    result = python(ASKED, installed)
    assert result.stdout.split() == ["True"] * 5 + ["3"], result.stderr


def test_a_distributions_strategy_is_chosen_by_the_settings(installed: Path, tmp_path: Path) -> None:
    """`config check` finds it by name, and names the strategies that there are where the name is wrong."""
    (tmp_path / "alphaloop.toml").write_text('[trading]\nstrategy = "acme-still"\n')
    program = LIST.format(folder=str(tmp_path)).replace('["data", "list"]', '["config", "check"]')
    result = python(program, installed)
    assert result.returncode == 0, result.stderr
    (tmp_path / "alphaloop.toml").write_text('[trading]\nstrategy = "still"\n')
    result = python(program, installed)
    assert result.returncode == 2
    assert "unknown strategy 'still'; known: acme-still, allocation" in result.stderr


def test_a_distributions_strategy_of_a_built_ins_name_is_one_line(tmp_path: Path) -> None:
    """The entry point is named with its distribution, and the way out."""
    site = tmp_path / "site"
    metadata = site / "acme_plugins-1.0.dist-info"
    metadata.mkdir(parents=True)
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: acme-plugins\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text("[alphaloop.strategies]\nacme = acme_strategy\n")
    (site / "acme_strategy.py").write_text(STRATEGY.replace("acme-still", "allocation"))
    program = LIST.format(folder=str(tmp_path)).replace('["data", "list"]', '["config", "check"]')
    result = python(program, site)
    assert result.returncode == 2, result.stdout + result.stderr
    (line,) = result.stderr.strip().splitlines()
    assert "two strategies are called 'allocation': one of trading.strategies.allocation, one of the" in line
    assert "(alphaloop.strategies, acme_strategy) of acme-plugins; rename one" in line


def test_the_command_lists_a_plugin(installed: Path, tmp_path: Path) -> None:
    """`alphaloop data list` shows the distribution's source with its description."""
    assert "Acme's bars." in python(LIST.format(folder=str(tmp_path)), installed).stdout


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("acme.nowhere", ["No module named 'acme.nowhere'", "mend or uninstall acme-plugins"]),
        ("acme.source:SOURCE", ["is no module", "name the module that defines the plug-in"]),
        ("acme.copy", ["two sources are called 'sp500-20'", "marketdata.sources.sp500_20", "rename one"]),
    ],
)
def test_a_plugin_that_cannot_be_used_is_one_line(
    installed: Path, tmp_path: Path, value: str, words: list[str]
) -> None:
    """One that does not load, is no module or has the name of a built-in is named with its distribution."""
    site = tmp_path / "site"
    metadata = site / "acme_plugins-1.0.dist-info"
    metadata.mkdir(parents=True)
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: acme-plugins\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text(f"[alphaloop.sources]\nacme = {value}\n")
    (site / "acme").mkdir()
    (site / "acme" / "__init__.py").touch()
    (site / "acme" / "source.py").write_text(SOURCE)
    (site / "acme" / "copy.py").write_text("from marketdata.sources.sp500_20 import SOURCE\n")
    result = python(LIST.format(folder=str(tmp_path)), site)
    assert result.returncode == 2, result.stdout + result.stderr
    (line,) = result.stderr.strip().splitlines()
    assert all(word in line for word in [*words, f"({'alphaloop.sources'}, {value}) of acme-plugins"]), line


def test_two_values_of_one_name_are_refused() -> None:
    """The message says where both come from; without a collision all are returned by name."""
    one, other = (Plugin(name, ModuleType(name), f"package.{name}") for name in ("one", "other"))
    assert by_name("things", [("a", 1, one), ("b", 2, other)]) == {"a": 1, "b": 2}
    with pytest.raises(PluginError, match=r"two things are called 'a': one of package\.one, one of package"):
        by_name("things", [("a", 1, one), ("a", 2, other)])


FOUND = """
from alphaloop.settings import settings
settings.load_settings()
from marketdata.sources.registry import find_source, source_names as sources
from models.zoo.registry import family_names as families
from trading.broker import broker_names as brokers
from features.catalogue import find_indicator
print(find_source("acme").name, find_source("desk:one").name)
print("acme" in sources(), "acme-momentum" in families(), "own_broker" in brokers())
print(find_indicator("acme_gap").version > 1)
again = settings.settings_from_json(settings.load_settings().model_dump_json())
print("acme" in sources(), all(path.is_absolute() for path in again.plugins))
settings.load_settings(plugins=())
print("acme" in sources())
"""


def test_files_that_the_settings_name_are_plugins(tmp_path: Path) -> None:
    """A folder and a file of the setting `plugins` are searched, and passed on to children; then no more.

    A family of models and one of sources, which have one name in their files, are told apart.
    """
    own = tmp_path / "own"
    own.mkdir()
    (own / "own_source.py").write_text(SOURCE)
    (own / "own_family.py").write_text(FAMILY)
    (own / "own_sources.py").write_text(SOURCES)
    (own / "own_indicators.py").write_text(INDICATORS)
    (tmp_path / "own_broker.py").write_text(BROKER)
    (tmp_path / "alphaloop.toml").write_text('plugins = ["own", "own_broker.py"]\n')
    result = python(f"import os; os.chdir({str(tmp_path)!r})\n{FOUND}", tmp_path / "nothing")
    assert result.stdout.split() == ["acme", "simulated", *["True"] * 6, "False"], result.stderr


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("SOURCE = 1 / 0\n", "own.py, line 1: ZeroDivisionError: division by zero; mend this file"),
        ("SOURCE =\n", "own.py, line 1: invalid syntax; mend this file"),
        (None, "own.py, which is neither a folder nor a Python file"),
    ],
)
def test_a_file_that_cannot_be_used_is_named_with_its_line(
    tmp_path: Path, text: str | None, words: str
) -> None:
    """Exit code 2 and one line, whatever is wrong with the file."""
    if text is not None:
        (tmp_path / "own.py").write_text(text)
    (tmp_path / "alphaloop.toml").write_text('plugins = ["own.py"]\n')
    program = LIST.format(folder=str(tmp_path)).replace('["data", "list"]', '["features", "list"]')
    result = python(program, tmp_path / "nothing")
    assert result.returncode == 2, result.stdout + result.stderr
    assert words in result.stderr
