"""Every error class of the product is one line on standard error and its exit code."""

from __future__ import annotations

import errno
import importlib
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from alphaloop.errors import AlphaloopError
from alphaloop.runtime.package_roots import PACKAGES
from cli import main

ROOT = Path(__file__).resolve().parents[2]
MEANT = {
    "AlphaloopError": 3, "InputError": 2, "DataError": 2, "SettingsError": 2, "StaleFeaturesError": 2,
    "FeatureSetMismatchError": 2, "RolloutConflictError": 2, "TlsError": 2, "FidelityError": 1,
    "LeaseLostError": 1, "ChainBrokenError": 1, "ServingError": 3, "VendorError": 3,
}  # fmt: skip


def _defined() -> Iterator[type[AlphaloopError]]:
    """Every error class of the tree: found by its name, told apart by what it derives from."""
    for room in PACKAGES:
        for path in sorted((ROOT / room).rglob("*.py")):
            names = re.findall(r"^class (\w*Error)\b", path.read_text(), re.MULTILINE)
            if names:
                module = importlib.import_module(".".join(path.relative_to(ROOT).with_suffix("").parts))
                yield from (
                    found for name in names if issubclass(found := getattr(module, name), AlphaloopError)
                )


CLASSES = list(_defined())


@pytest.fixture
def raising(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """The frame of the command in this process, without ending the children of other tests."""
    monkeypatch.setattr(main, "_stop_what_was_started", lambda: None)
    return monkeypatch


def _run(raising: pytest.MonkeyPatch, error: BaseException) -> int:
    def invoke(arguments: list[str]) -> int:
        raise error

    raising.setattr(main, "_invoke", invoke)
    return main.run_command([])


@pytest.mark.parametrize("kind", CLASSES, ids=lambda kind: kind.__name__)
def test_an_error_of_ours_is_one_line(
    kind: type[AlphaloopError], raising: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """No error class is a traceback: one line that has its words, and exit code 1, 2 or 3."""
    error = kind.__new__(kind)
    error.args = ("it went\nwrong",)
    assert _run(raising, error) == kind.exit_code in {1, 2, 3}
    shown = capsys.readouterr().err
    assert shown == f"alphaloop: {' '.join(str(error).split())}\n"


def test_exit_codes_mean_what_the_help_says() -> None:
    """A finding is 1, what the caller can mend 2, what failed meanwhile 3; derived classes follow."""
    found = {kind.__name__: kind.exit_code for kind in CLASSES}
    assert found.items() >= MEANT.items()
    assert found["OverloadedError"] == found["GaveUpError"] == 3
    assert found["FormulaError"] == found["UntrustedModelError"] == 2


@pytest.mark.parametrize("number", [errno.EACCES, errno.EROFS, errno.ENOSPC])
def test_a_place_that_cannot_be_written_is_one_line(
    number: int, raising: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A folder without permission, a read-only medium and a full disk are named, and exit with 2."""
    assert _run(raising, OSError(number, "cannot be", "/home/of/another")) == 2
    shown = capsys.readouterr().err
    assert shown.startswith("alphaloop: /home/of/another: cannot be")
    assert shown.count("\n") == 1


def test_an_unforeseen_error_keeps_its_traceback(raising: pytest.MonkeyPatch) -> None:
    """Another error, and another error of the machine, is raised as it is."""
    with pytest.raises(OSError, match="quota"):
        _run(raising, OSError(errno.EMFILE, "quota"))
