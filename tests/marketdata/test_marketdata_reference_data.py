"""Reference data as of any time; futures whose rolls look at the past alone; files with clear errors."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from alphaloop.bars import BarPanel, to_datetime
from alphaloop.errors import DataError, InputError, UnknownNameError
from alphaloop.instruments import Instrument
from marketdata.point_in_time.futures import DaysBeforeExpiry, RollRule, VolumeCrossing, continuous_series
from marketdata.point_in_time.reference_data import ReferenceData
from marketdata.source import close_only_panel

NOON = datetime(2020, 1, 1, 12, tzinfo=UTC)
DAY = timedelta(days=1)

# -- terms as of a time ----------------------------------------------------------------------------


def test_nothing_changes_for_an_instrument_without_terms() -> None:
    """Defaults are a US stock's: a cent, a ten-thousandth, dollars, one for one, no expiry."""
    plain = Instrument("A")
    assert (plain.multiplier, plain.calendar, plain.expiry, plain.root) == (Decimal(1), "XNYS", None, "")


def test_terms_hold_from_their_start_and_only_once_published() -> None:
    """A tick that changes on day 10, announced on day 5, is the old one on day 9 and the new one then."""
    data = ReferenceData(
        [
            Instrument("A", tick=Decimal("0.05")),
            Instrument("A", tick=Decimal("0.01"), start=NOON + 10 * DAY, published=NOON + 5 * DAY),
            # A correction that came late: it does not reach back beyond its publication.
            Instrument("A", tick=Decimal("0.02"), start=NOON + 10 * DAY, published=NOON + 20 * DAY),
        ]
    )
    ticks = [data.instrument("A", NOON + days * DAY).tick for days in (0, 9, 10, 19, 20)]
    assert [str(tick) for tick in ticks] == ["0.05", "0.05", "0.01", "0.01", "0.02"]


def test_what_is_not_known_is_said() -> None:
    """A strange symbol lists those there are; before its first publication a known one has no terms."""
    data = ReferenceData([Instrument("A", start=NOON, published=NOON)])
    assert data.symbols() == ("A",)
    with pytest.raises(UnknownNameError, match="unknown instrument 'B' in the reference data; known: A"):
        data.instrument("B", NOON)
    with pytest.raises(DataError, match=r"nothing was known of A at 2019-12-31T12.*begin at 2020-01-01T12"):
        data.instrument("A", NOON - DAY)
    with pytest.raises(DataError, match="A has two versions"):
        ReferenceData([Instrument("A"), Instrument("A", tick=Decimal(1))])


def test_impossible_terms_are_refused() -> None:
    """Steps and multipliers are above 0, moments have time zones, contracts have root and expiry."""
    for terms, word in [
        ({"symbol": ""}, "has a symbol"),
        ({"tick": Decimal(0)}, "A: tick is 0"),
        ({"lot": Decimal("-1")}, "A: lot is -1"),
        ({"multiplier": Decimal("NaN")}, "A: multiplier is NaN"),
        ({"start": datetime(2020, 1, 1)}, "without a time zone"),  # noqa: DTZ001
        ({"root": "ES"}, "a contract has both"),
        ({"expiry": date(2020, 3, 20)}, "a contract has both"),
        ({"expiry": date(2020, 3, 20), "root": "ES", "roll": date(2020, 3, 21)}, "rolls on 2020-03-21"),
    ]:
        with pytest.raises(DataError, match=word):
            replace(Instrument("A"), **terms)


# -- files -----------------------------------------------------------------------------------------

CONTRACT = Instrument(
    "ESH0", Decimal("0.25"), Decimal(1), "USD", Decimal(50), "CMES", date(2020, 3, 20), None, "ES", None, NOON
)


def test_files_of_every_kind_give_the_same_terms(tmp_path: Path) -> None:
    """CSV, TOML and Parquet give the same instrument; a tick of 0.25 or 0.1 is that decimal exactly."""
    (tmp_path / "a.csv").write_text(
        "symbol,tick,lot,currency,multiplier,calendar,expiry,roll,root,published\n"
        "ESH0,0.25,1,USD,50,CMES,2020-03-20,,ES,2020-01-01T12:00:00Z\nX,0.1,,,,,,,,\n"
    )
    (tmp_path / "a.toml").write_text(
        "[[instrument]]\nsymbol = 'ESH0'\ntick = 0.25\nlot = 1\nmultiplier = '50'\ncalendar = 'CMES'\n"
        "expiry = 2020-03-20\nroot = 'ES'\npublished = 2020-01-01T12:00:00Z\n"
        "[[instrument]]\nsymbol = 'X'\ntick = 0.1\n"
    )
    row = {"symbol": "ESH0", "tick": Decimal("0.25"), "lot": 1.0, "multiplier": 50, "calendar": "CMES",
           "expiry": date(2020, 3, 20), "root": "ES", "published": NOON}  # fmt: skip
    pq.write_table(pa.Table.from_pylist([row, {"symbol": "X"}]), tmp_path / "a.parquet")
    for name in ("a.csv", "a.toml", "a.parquet"):
        data = ReferenceData.read(tmp_path / name)
        assert data.instrument("ESH0", NOON) == CONTRACT, name
    assert ReferenceData.read(tmp_path / "a.toml").instrument("X", NOON).tick == Decimal("0.1")


MALFORMED = [
    ("a.csv", "", "it is empty; its first line names the columns"),
    ("a.csv", "symbol,tick\nA,big\n", "row 1, 'tick' is 'big'; give a number"),
    ("a.csv", "symbol,tick\nA,inf\n", "row 1, 'tick' is 'inf'; give a number"),
    ("a.csv", "symbol,tick\nA,0.01\nB,-1\n", "row 2: B: tick is -1; it must be above 0"),
    ("a.csv", "symbol,tock\nA,0.01\n", "row 1: unknown column 'tock'; known: symbol, tick"),
    ("a.csv", "tick\n0.01\n", "row 1: 'symbol' is missing"),
    ("a.csv", "symbol,tick\nA,0.01,7\n", "row 1 has 3 cells, and there are 2"),
    ("a.csv", "symbol,symbol\nA,A\n", "two columns have the same name"),
    ("a.csv", "symbol,expiry\nA,20.3.2020\n", "'expiry' is '20.3.2020'; give a date"),
    ("a.csv", "symbol,start\nA,2020-03-20T12:00\n", "'start' is .* with its time zone"),
    ("a.csv", "symbol\nA\nA\n", "A has two versions"),
    ("a.csv", b"symbol\n\xff\xfe\x00\n", "cannot be read as csv"),
    ("a.csv", 'symbol,tick\n"A,1\n', "cannot be read as csv"),
    ("a.toml", "symbol = 'A'", "one array of tables"),
    ("a.toml", "[[instrument]\n", "cannot be read as toml"),
    ("a.toml", "[[instrument]]\nsymbol = 5\n", "'symbol' is 5; give a text"),
    ("a.toml", "[[instrument]]\nsymbol = 'A'\ntick = true\n", "'tick' is True; give a number"),
    ("a.toml", "[[instrument]]\nsymbol = 'A'\nexpiry = 2020-03-20T12:00:00Z\n", "'expiry' is .* give a date"),
    ("a.parquet", b"PAR1 and no more", "cannot be read as parquet"),
    ("a.json", "{}", "must end in one of .csv, .parquet, .toml"),
]


@pytest.mark.parametrize(("name", "content", "message"), MALFORMED)
def test_malformed_files_are_named(tmp_path: Path, name: str, content: str | bytes, message: str) -> None:
    """Each malformed file is refused with its path, and its row, column and value where there are any."""
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(DataError, match=message) as caught:
        ReferenceData.read(path)
    assert str(caught.value).startswith(str(path))


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    """A path where nothing lies says so."""
    for name in ("a.csv", "a.toml", "a.parquet"):
        with pytest.raises(DataError, match="there is no such file"):
            ReferenceData.read(tmp_path / name)


@given(
    st.binary(max_size=200) | st.text(max_size=200).map(str.encode),
    st.sampled_from(["csv", "toml", "parquet"]),
)
def test_no_file_crashes_the_reader(
    tmp_path_factory: pytest.TempPathFactory, content: bytes, kind: str
) -> None:
    """Any bytes are read or refused with a `DataError`, whatever they are."""
    path = tmp_path_factory.getbasetemp() / f"fuzz.{kind}"
    path.write_bytes(content if kind != "csv" else b"symbol,tick\n" + content)
    try:
        ReferenceData.read(path)
    except DataError as error:
        assert str(path) in str(error)


# -- futures ---------------------------------------------------------------------------------------

CHAIN = tuple(
    Instrument(symbol, expiry=expiry, root="ES")
    for symbol, expiry in [
        ("ESH0", date(2020, 1, 10)), ("ESM0", date(2020, 1, 20)), ("ESU0", date(2020, 1, 30)),
    ]
)  # fmt: skip
START = np.datetime64("2020-01-01T21:00", "ns")


def contracts(days: int = 30, seed: int = 3) -> BarPanel:
    """Bars of three contracts: prices apart by a carry, volume wandering from one to the next."""
    random = np.random.default_rng(seed)
    spot = 100 * np.cumprod(1 + 0.01 * random.standard_normal(days))
    carry = np.arange(days)[:, None] * np.array([0.0, 1e-3, 2.5e-3])
    close = spot[:, None] * (np.array([1.0, 1.02, 1.05]) - carry)
    times = START + np.arange(days) * np.timedelta64(1, "D")
    centre = np.arange(days)[:, None] / 10 - np.arange(3)
    volume = np.round(1000 * np.exp(-(centre**2)) * random.uniform(0.7, 1.3, close.shape))
    return replace(close_only_panel(times, tuple(one.symbol for one in CHAIN), close), volume=volume)


def moment(bars: BarPanel, row: int) -> datetime:
    """When bar `row` closes."""
    return to_datetime(bars.timestamps[row])


def test_the_chain_is_what_was_listed_then() -> None:
    """A contract belongs to the chain from its publication on, expired ones included, by expiry."""
    listed = [replace(one, published=NOON + 5 * index * DAY) for index, one in enumerate(CHAIN)]
    data = ReferenceData([*listed[::-1], Instrument("A")])
    assert [one.symbol for one in data.chain("ES", NOON + 6 * DAY)] == ["ESH0", "ESM0"]
    assert [one.symbol for one in data.chain("ES", NOON + 60 * DAY)] == ["ESH0", "ESM0", "ESU0"]
    with pytest.raises(UnknownNameError, match="unknown root 'NQ'; known: ES"):
        data.chain("NQ", NOON + 6 * DAY)


def test_rolling_by_the_calendar() -> None:
    """The next contract is held from so many days before the last trading day, or from its own roll day."""
    bars = contracts()
    series = continuous_series(bars, CHAIN, DaysBeforeExpiry(3), moment(bars, 29))
    assert series.contracts.tolist() == ["ESH0"] * 6 + ["ESM0"] * 10 + ["ESU0"] * 14
    chain = (replace(CHAIN[0], roll=date(2020, 1, 5)), *CHAIN[1:])
    assert continuous_series(bars, chain, DaysBeforeExpiry(3), moment(bars, 29)).contracts.tolist()[:5] == [
        "ESH0"
    ] * 4 + ["ESM0"]


def test_rolling_by_volume_looks_at_past_bars_alone() -> None:
    """The roll comes the bar after the crossing, and the volume of its own bar has no say."""
    bars = contracts(8)
    volume = np.array([[9, 1], [9, 8], [5, 6], [9, 1], [5, 6], [5, 7], [1, 9], [9, 1]], dtype=float)
    bars = replace(bars, volume=np.column_stack([volume, np.zeros(8)]))
    end = moment(bars, 7)
    assert (
        continuous_series(bars, CHAIN, VolumeCrossing(), end).contracts.tolist()
        == ["ESH0"] * 3 + ["ESM0"] * 5
    )
    assert (
        continuous_series(bars, CHAIN, VolumeCrossing(2), end).contracts.tolist()
        == ["ESH0"] * 6 + ["ESM0"] * 2
    )


def test_an_expired_contract_is_left_though_no_volume_crosses() -> None:
    """After the last trading day the next contract is held, whatever the volumes."""
    bars = replace(contracts(), volume=np.full((30, 3), np.nan))
    series = continuous_series(bars, CHAIN, VolumeCrossing(), moment(bars, 29))
    assert series.contracts.tolist() == ["ESH0"] * 10 + ["ESM0"] * 10 + ["ESU0"] * 10


def test_the_return_over_a_roll_is_that_of_the_new_contract() -> None:
    """Prices stay as traded; the adjusted return at each bar is what the contract held over it made."""
    bars = contracts()
    series = continuous_series(bars, CHAIN, DaysBeforeExpiry(3), moment(bars, 29))
    assert series.bars.symbols == ("ES",)
    places = [bars.symbols.index(name) for name in series.contracts]
    np.testing.assert_array_equal(series.bars.close[:, 0], bars.close[np.arange(30), places])
    adjusted = series.bars.adjusted_close[:, 0]
    for row in range(1, 30):
        held = bars.close[row, places[row]] / bars.close[row - 1, places[row]]
        assert adjusted[row] / adjusted[row - 1] == pytest.approx(held, rel=1e-12)
    assert series.bars.adjustment[0, 0] == 1.0
    assert len(np.unique(series.bars.adjustment)) == 3


def test_a_roll_takes_the_last_bar_on_which_both_traded() -> None:
    """Where the old contract has no price just before the roll, the ratio is that of the bar before."""
    bars = contracts()
    bars.close[5, 0] = np.nan
    adjustment = continuous_series(bars, CHAIN, DaysBeforeExpiry(3), moment(bars, 29)).bars.adjustment[:, 0]
    assert adjustment[5:7].tolist() == [1.0, bars.close[4, 0] / bars.close[4, 1]]


RULES: list[Callable[[], RollRule]] = [lambda: DaysBeforeExpiry(2), VolumeCrossing, lambda: VolumeCrossing(2)]


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("row", [4, 9, 15, 22])
def test_no_later_bar_changes_the_series(rule: Callable[[], RollRule], row: int) -> None:
    """With all prices and volumes after t changed, contracts, prices and adjustment up to t are the same."""
    bars, other = contracts(), contracts(seed=4)
    mixed = replace(bars, **{
        name: np.concatenate([getattr(bars, name)[: row + 1], getattr(other, name)[row + 1 :]])
        for name in ("close", "volume")
    })  # fmt: skip
    seen = [continuous_series(one, CHAIN, rule(), moment(bars, 29)) for one in (bars, mixed)]
    assert seen[0].contracts[: row + 1].tolist() == seen[1].contracts[: row + 1].tolist()
    for name in ("close", "adjustment", "volume"):
        one, two = (getattr(series.bars, name)[: row + 1] for series in seen)
        np.testing.assert_array_equal(one, two)
    # As of t it is the same again.
    np.testing.assert_array_equal(
        continuous_series(bars, CHAIN, rule(), moment(bars, row)).bars.adjusted_close,
        seen[0].bars.adjusted_close[: row + 1],
    )


def test_the_volume_of_the_deciding_bar_matters() -> None:
    """The test above would see nothing if volumes had no say: other past volumes give another roll."""
    bars = contracts()
    early = replace(bars, volume=bars.volume * np.array([0.01, 1.0, 1.0]))
    rolls = [
        continuous_series(one, CHAIN, VolumeCrossing(), moment(bars, 29)).contracts.tolist()
        for one in (bars, early)
    ]
    assert rolls[0] != rolls[1]


def test_impossible_chains_are_refused() -> None:
    """Several roots, contracts without bars or without a common bar, and strange rules are named."""
    bars = contracts()
    end = moment(bars, 29)
    with pytest.raises(DataError, match="one root, not of: ES, NQ"):
        continuous_series(bars, (*CHAIN, replace(CHAIN[0], root="NQ")), VolumeCrossing(), end)
    with pytest.raises(DataError, match="no bars of ESZ0; known: ESH0"):
        continuous_series(bars, (*CHAIN, replace(CHAIN[0], symbol="ESZ0")), VolumeCrossing(), end)
    close = bars.close.copy()
    close[:7, 1] = np.nan
    with pytest.raises(
        DataError, match="ESH0 and ESM0 never traded on one bar before the roll at 2020-01-07"
    ):
        continuous_series(replace(bars, close=close), CHAIN, DaysBeforeExpiry(3), end)
    for rule in (lambda: DaysBeforeExpiry(-1), lambda: VolumeCrossing(0)):
        with pytest.raises(InputError, match="or more"):
            rule()
