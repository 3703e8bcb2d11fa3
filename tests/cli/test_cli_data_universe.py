"""`data.universe` and `data.sectors`: members by date in the bars, from the command line on."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from alphaloop.bars import BarPanel
from alphaloop.settings import settings
from cli import main
from cli.commands import trade
from loop import workspace
from marketdata.configured_source import chosen_identity, newest_snapshot
from marketdata.source import identity_of
from marketdata.storage.incremental import update_snapshot
from marketdata.storage.snapshots import SnapshotStore

HEAD = "symbol,start,end,published"
MEMBERS = [
    "AAPL,2000-01-03T00:00:00Z,,1999-12-01T00:00:00Z",
    "IBM,2000-01-03T00:00:00Z,,1999-12-01T00:00:00Z",
    # Its end is announced in May.
    "MSFT,2005-03-01T00:00:00Z,,2005-02-20T00:00:00Z",
    "MSFT,2005-03-01T00:00:00Z,2008-06-02T00:00:00Z,2008-05-05T00:00:00Z",
]
SECTORS = ["AAPL,tech,2000-01-03T00:00:00Z,,2000-01-03T00:00:00Z"]


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder with a universe of three stocks, one of which joins late and leaves."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ALPHALOOP_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("ALPHALOOP_DATA__SOURCE", "us-tech-ohlcv")
    monkeypatch.setenv("ALPHALOOP_FEATURES__SET", '["return_5", "rank(return_5)"]')
    monkeypatch.setattr(main, "_stop_what_was_started", lambda: None)
    write(tmp_path, *MEMBERS)
    return tmp_path


def write(folder: Path, *rows: str, head: str = HEAD, name: str = "members.csv") -> None:
    """A file of records."""
    (folder / name).write_text("\n".join((head, *rows)) + "\n")


def run(capsys: pytest.CaptureFixture[str], *arguments: str, code: int = 0) -> tuple[str, str]:
    """Run the command; returns its output and its errors."""
    found = main.run_command(list(arguments))
    printed = capsys.readouterr()
    assert found == code, printed.err
    return printed.out, printed.err


def members(capsys: pytest.CaptureFixture[str], day: str) -> Any:
    """The members that the verb shows."""
    shown = json.loads(run(capsys, "data", "universe", "--as-of", day, "--json")[0])
    return [row["symbol"] for row in shown["members"]]


@pytest.fixture
def chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    """The settings name the file."""
    monkeypatch.setenv("ALPHALOOP_DATA__UNIVERSE", "members.csv")


@pytest.mark.usefixtures("chosen")
def test_members_are_shown_as_they_were_known(capsys: pytest.CaptureFixture[str]) -> None:
    """A member counts from its start and publication on, and until its announced end."""
    assert members(capsys, "2005-02-25") == ["AAPL", "IBM"]
    assert members(capsys, "2006-01-03") == ["AAPL", "IBM", "MSFT"]
    assert members(capsys, "2008-06-02") == ["AAPL", "IBM"]


@pytest.mark.usefixtures("chosen")
def test_bars_are_stored_with_their_members(capsys: pytest.CaptureFixture[str], home: Path) -> None:
    """The snapshot holds the three symbols that were ever members, the column, and the file's digest."""
    run(capsys, "features", "build", "--until", "2009-12-31")
    chosen = settings.load_settings()
    snapshot = newest_snapshot(chosen)
    assert snapshot is not None
    assert set(snapshot.records) == {"universe"}
    assert snapshot.source == chosen_identity(chosen) == identity_of(workspace.workspace_source(chosen))
    assert SnapshotStore(chosen.paths.snapshots).describe(snapshot.id).records == snapshot.records
    bars = BarPanel.from_table(SnapshotStore(chosen.paths.snapshots).load(snapshot.id))
    assert bars.symbols == ("AAPL", "IBM", "MSFT")
    days = bars.timestamps.astype("datetime64[D]")
    inside = (days >= np.datetime64("2005-03-01")) & (days < np.datetime64("2008-06-02"))
    np.testing.assert_array_equal(bars.extra["member"][:, 2] == 1.0, inside)
    assert (bars.extra["member"][:, :2] == 1.0).all()


@pytest.mark.usefixtures("chosen")
def test_members_may_be_added_while_bars_go_on(capsys: pytest.CaptureFixture[str], home: Path) -> None:
    """A delta has what the file says by then, stored bars keep what was known, and both digests are named."""
    run(capsys, "features", "build", "--until", "2007-12-31")
    chosen = settings.load_settings()
    first = newest_snapshot(chosen)
    write(
        home, *MEMBERS[:2], MEMBERS[2], "MSFT,2005-03-01T00:00:00Z,2005-06-01T00:00:00Z,2008-02-01T00:00:00Z"
    )
    market = trade._market(chosen, "2008-01-02:2008-03-31")
    assert first is not None
    assert market.snapshot.source == first.source
    assert (market.past.extra["member"][-500:, 2] == 1.0).all()
    days = market.future.timestamps.astype("datetime64[D]")
    np.testing.assert_array_equal(
        market.future.extra["member"][:, 2] == 1.0, days < np.datetime64("2008-02-01")
    )
    store = SnapshotStore(chosen.paths.snapshots)
    later = update_snapshot(store, workspace.workspace_source(chosen), market.past.symbols)
    assert later.parent == first.id
    assert store.records_of(later.id) == {"universe": [first.records["universe"], later.records["universe"]]}
    assert first.records != later.records


def test_a_member_without_bars_in_the_time_that_is_stored_is_no_error(
    capsys: pytest.CaptureFixture[str], home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A member that failed before `data.start` has no bar, and the others are read and gone on from."""
    lines = ["symbol,date,close"]
    lines += [f"GONE,2019-01-{day:02},10" for day in range(2, 5)]
    lines += [
        f"{name},{year}-01-{day:02},{day}" for year in (2019, 2020) for day in range(2, 9) for name in "AB"
    ]
    (home / "bars").mkdir()
    (home / "bars" / "bars.csv").write_text("\n".join(lines) + "\n")
    write(home, *(f"{name},2010-01-01T00:00:00Z,,2010-01-01T00:00:00Z" for name in ("A", "B", "GONE")))
    for name, value in (
        ("SOURCE", "folder:bars?calendar=24/7"),
        ("UNIVERSE", "members.csv"),
        ("START", "2020-01-01"),
    ):
        monkeypatch.setenv(f"ALPHALOOP_DATA__{name}", value)
    monkeypatch.setenv("ALPHALOOP_FEATURES__SET", '["return_1"]')
    run(capsys, "features", "build", "--until", "2020-01-06")
    assert workspace.latest_bars(settings.load_settings())[1].symbols == ("A", "B")
    assert len(trade._market(settings.load_settings(), "").future) == 2


def test_without_the_setting_nothing_changes(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The snapshot before the setting, and after it is taken away, has one id; the one with it another."""

    def built() -> str:
        return str(
            json.loads(run(capsys, "features", "build", "--until", "2003-12-31", "--json")[0])["snapshot"]
        )

    monkeypatch.setenv("ALPHALOOP_DATA__SYMBOLS", '["AAPL", "IBM", "MSFT"]')
    before = built()
    monkeypatch.setenv("ALPHALOOP_DATA__UNIVERSE", "members.csv")
    assert built() != before
    monkeypatch.delenv("ALPHALOOP_DATA__UNIVERSE")
    assert built() == before


@pytest.mark.usefixtures("chosen")
def test_a_check_reads_the_file_and_names_members_without_bars(
    capsys: pytest.CaptureFixture[str], home: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """`data check` has the file's digest, and a member that the source lacks is named as a bias."""
    write(home, *MEMBERS, "GONE,2000-01-03T00:00:00Z,2001-01-03T00:00:00Z,2000-01-03T00:00:00Z")
    shown = json.loads(run(capsys, "data", "check", "--json")[0])
    assert set(shown["records"]) == {"universe"}
    assert "lacks 1 members of the universe" in caplog.text
    assert "GONE" in caplog.text
    assert json.loads(run(capsys, "data", "universe", "--json")[0])["missing"] == ["GONE"]


@pytest.mark.usefixtures("chosen")
def test_a_stream_names_who_is_no_member(capsys: pytest.CaptureFixture[str]) -> None:
    """On the day of its end a symbol still has bars, and is marked."""
    days = ("data", "stream", "--frequency", "1d", "--replay", "2008-05-30:2008-06-02", "--json")
    rows = json.loads("[" + run(capsys, *days)[0].strip().replace("}\n{", "},{") + "]")
    assert [(row["timestamp"][:10], row["member"]) for row in rows if row["symbol"] == "MSFT"] == [
        ("2008-05-30", 1.0),
        ("2008-06-02", 0.0),
    ]


@pytest.mark.usefixtures("chosen")
def test_sectors_are_a_column_of_the_bars(
    capsys: pytest.CaptureFixture[str], home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With `data.sectors`, features rank within sectors, and the verb shows each member's sector."""
    write(home, *SECTORS, "IBM,services,2000-01-03T00:00:00Z,,2000-01-03T00:00:00Z",
          "MSFT,tech,2000-01-03T00:00:00Z,,2000-01-03T00:00:00Z",
          head="symbol,group,start,end,published", name="sectors.csv")  # fmt: skip
    monkeypatch.setenv("ALPHALOOP_DATA__SECTORS", "sectors.csv")
    monkeypatch.setenv("ALPHALOOP_FEATURES__SET", '["rank(return_5, by=data.sector)"]')
    run(capsys, "features", "build", "--until", "2009-12-31")
    bars = workspace.latest_bars(settings.load_settings())[1]
    assert np.unique(bars.extra["sector"][:, 0]).tolist() != np.unique(bars.extra["sector"][:, 1]).tolist()
    shown = json.loads(run(capsys, "data", "universe", "--as-of", "2006-01-03", "--json")[0])
    assert {row["symbol"]: row["sector"] for row in shown["members"]} == {
        "AAPL": "tech", "IBM": "services", "MSFT": "tech",
    }  # fmt: skip


@pytest.mark.usefixtures("chosen")
@pytest.mark.parametrize(
    ("rows", "says"),
    [
        (
            ["AAPL,yesterday,,2000-01-03T00:00:00Z"],
            "members.csv: row 1, 'start' is 'yesterday'; give a moment",
        ),
        (["AAPL,2000-01-03T00:00:00Z,,"], "members.csv: row 1: 'published' is missing"),
        (
            ["AAPL,2005-01-03T00:00:00Z,2004-01-03T00:00:00Z,2000-01-03T00:00:00Z"],
            "members.csv: row 1: AAPL in universe: it ends on 2004-01-03 00:00:00+00:00, before",
        ),
        ([], "members.csv: it has no rows; a universe has at least one member"),
        (["APPL,2000-01-03T00:00:00Z,,2000-01-03T00:00:00Z"], "none of the 1 members of 'universe' (APPL)"),
    ],
)
def test_a_bad_file_is_refused_in_one_line(
    capsys: pytest.CaptureFixture[str], home: Path, rows: list[str], says: str
) -> None:
    """The line names file, row, value and way out."""
    write(home, *rows)
    verbs = [("data", "check"), ("features", "build")]
    if not says.startswith("none"):
        verbs += [("data", "universe"), ("config", "check")]
    for verb in verbs:
        error = run(capsys, *verb, code=2)[1]
        assert says in error
        assert error.count("alphaloop: ") == 1 and "Traceback" not in error


def test_a_group_is_chosen_by_name(
    capsys: pytest.CaptureFixture[str], home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a file with several groups the setting names one; none, an unknown one and no file are refused."""
    moment = "2000-01-03T00:00:00Z"
    write(
        home,
        f"AAPL,a,{moment},,{moment}",
        f"IBM,b,{moment},,{moment}",
        head="symbol,group,start,end,published",
    )
    monkeypatch.setenv("ALPHALOOP_DATA__UNIVERSE", "members.csv")
    assert "has 2 groups (a, b); set data.universe_group" in run(capsys, "data", "check", code=2)[1]
    monkeypatch.setenv("ALPHALOOP_DATA__UNIVERSE_GROUP", "c")
    assert "unknown group 'c'" in run(capsys, "data", "check", code=2)[1]
    monkeypatch.setenv("ALPHALOOP_DATA__UNIVERSE_GROUP", "b")
    assert members(capsys, "2006-01-03") == ["IBM"]
    monkeypatch.setenv("ALPHALOOP_DATA__UNIVERSE", "")
    assert "data.universe names no file" in run(capsys, "data", "universe", code=2)[1]


@pytest.mark.usefixtures("chosen")
def test_a_file_is_the_same_from_every_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A step of a pipeline in another folder is given the settings, and reads the same file."""
    here = settings.load_settings()
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    there = settings.settings_from_json(here.model_dump_json())
    assert chosen_identity(there) == chosen_identity(here)
    assert workspace.workspace_source(there).symbols() == ("AAPL", "IBM", "MSFT")


def test_a_file_that_is_not_there_is_refused(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The line names it."""
    monkeypatch.setenv("ALPHALOOP_DATA__UNIVERSE", "nowhere.csv")
    assert "nowhere.csv: there is no such file" in run(capsys, "data", "check", code=2)[1]
