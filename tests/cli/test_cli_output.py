"""How commands answer, and what `doctor` finds."""

from __future__ import annotations

import json
import math
import socket
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from importlib.metadata import PackageNotFoundError
from pathlib import Path

import numpy as np
import pytest

from alphaloop.errors import InputError
from alphaloop.forecasts import Route
from alphaloop.settings.settings import load_settings
from cli import doctor, output
from cli.commands.options import operator, parse_time, split_names


@dataclass(frozen=True)
class Found:
    """A value as rooms return them."""

    at: datetime
    price: Decimal
    share: float
    route: Route


def test_json_holds_what_rooms_return(capsys: pytest.CaptureFixture[str]) -> None:
    """Times, decimals, enums, arrays and what is not finite come out as plain JSON."""
    found = Found(datetime(2020, 3, 16, tzinfo=UTC), Decimal("1.50"), math.nan, Route.CANARY)
    payload = {"found": [found], "day": date(2020, 3, 16), "scores": np.array([1.0, np.inf], np.float32)}
    output.print_result(
        payload | {"count": np.int64(3), "path": Path("a/b"), "set": {"x"}}, True, lambda: None
    )
    assert json.loads(capsys.readouterr().out) == {
        "found": [{"at": "2020-03-16T00:00:00+00:00", "price": "1.50", "share": None, "route": "canary"}],
        "day": "2020-03-16", "scores": [1.0, None], "count": 3, "path": "a/b", "set": ["x"],
    }  # fmt: skip


def test_tables_and_facts_are_not_folded_into_a_pipe(capsys: pytest.CaptureFixture[str]) -> None:
    """Without a terminal a row stays on its line, so that it can be searched."""
    output.print_table(("name", "value"), [["x" * 60, "1"], ["y", "z" * 60]], numbers=("value",))
    output.print_facts([("snapshot", "s" * 64)])
    shown = capsys.readouterr().out
    assert "z" * 60 in shown
    assert "s" * 64 in shown


def test_progress_without_a_terminal_is_plain_lines(capsys: pytest.CaptureFixture[str]) -> None:
    """News goes to standard error, one line each, and standard output stays clean."""
    with output.show_progress("training") as tell:
        tell("trial 1\nof 6")
    with output.show_progress_bar("trading", 2) as step:
        step("2019-01-02")
    shown = capsys.readouterr()
    assert shown.err == "training: trial 1 of 6\n"
    assert shown.out == ""


def test_dates_are_days_or_moments_in_utc() -> None:
    """A day can mean its end, a moment keeps its zone, and anything else is refused with an example."""
    assert parse_time("2020-03-16", "--to", "XNYS", end_of_day=True) == datetime(2020, 3, 17, 4, tzinfo=UTC)
    assert parse_time("2020-03-16T21:00:00+01:00", "--to", "XNYS") == datetime(2020, 3, 16, 20, tzinfo=UTC)
    with pytest.raises(InputError, match=r"--to 'March' is no date .*; write it as 2020-03-16"):
        parse_time("March", "--to", "XNYS")


def test_names_may_be_parted_by_commas_or_spaces() -> None:
    """`AAPL,AMD` and `AAPL AMD` are the same."""
    assert split_names("AAPL,AMD") == split_names("AAPL  AMD") == ("AAPL", "AMD")


def test_the_operator_has_a_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the machine knows no user, the journal still names someone."""
    assert operator()

    def nobody() -> str:
        raise OSError("no such user")

    monkeypatch.setattr("getpass.getuser", nobody)
    assert operator() == "operator"


def test_doctor_finds_this_machine_fit_for_the_tests(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the tests run, every library of every extra is installed."""
    monkeypatch.chdir(tmp_path)
    checks = {one.name: one for one in doctor.check_machine(load_settings(home=tmp_path / "home"))}
    assert checks["Python 3.11"].ok
    assert all(one.ok for name, one in checks.items() if name.startswith("libraries")), checks
    assert checks["libgomp1"].ok
    assert not (tmp_path / "home").exists()


def without(missing: str) -> Callable[[str], str]:
    """A machine on which one library is missing."""

    def installed(name: str) -> str:
        if name == missing:
            raise PackageNotFoundError(name)
        return "1.0"

    return installed


def test_doctor_names_a_missing_library_and_what_mends_it() -> None:
    """The extra, the library and the line to type are all said."""
    lines = ["typer>=0.16", 'torch<2.14,>=2.13; extra == "train"', 'alphaloop[features]; extra == "train"']
    base, train = doctor.check_libraries(lines, without("torch"))
    assert base.ok
    assert not train.ok
    assert train.name == "libraries for train"
    assert "missing: torch" in train.found
    assert "pip install -c constraints.txt" in train.mend


def test_doctor_says_what_mends_each_lack(tmp_path: Path) -> None:
    """Another Python, no library, no program, few cores, no memory and a full disk are each told."""
    lacks = [
        doctor.check_python((3, 13)),
        doctor.check_system_library("no-such-library", "libnone1", "something loads it"),
        doctor.check_program("no-such-program", "none", "only for this"),
        doctor.check_cores(1),
        doctor.check_memory(doctor.GIB),
        doctor.check_disk(tmp_path / "not" / "yet", 1),
    ]
    assert not any(one.ok for one in lacks)
    assert "apt-get install -y libnone1" in lacks[1].mend
    assert "ALPHALOOP_HOME" in lacks[5].mend
    assert doctor.check_memory().found.endswith("GiB available")


def test_doctor_sees_a_port_in_use() -> None:
    """A port that another process holds is told with the setting that moves ours."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        number = taken.getsockname()[1]
        check = doctor.check_port("127.0.0.1", number)
    assert not check.ok
    assert "ALPHALOOP_SERVING__GRPC_PORT" in check.mend
