"""Three lines for a notebook: bars of a source or of a data frame, features by name or formula, a data frame.

from features.notebook import bars, features
prices = bars("us-tech-ohlcv", "AAPL", "MSFT", start="2010-01-01")
features(prices, "rsi(14)", "trend = close / sma(50) - 1", "macd.macdhist")
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from alphaloop.bars import BarPanel, with_calendar
from alphaloop.errors import InputError
from features.engine.indicator import Indicator
from marketdata.calendars import day_span

if TYPE_CHECKING:
    import pandas as pd


def bars(source: str, *symbols: str, start: str = "", end: str = "", frequency: str = "1d") -> BarPanel:
    """Bars of `symbols` (all if none are named) of the source called `source`, from day to day.

    Days are written as 2010-01-31, are those of the source's calendar and both included; a moment has its
    time zone. Raises `UnknownNameError` for a source or symbol that does not exist.
    """
    from marketdata.sources.registry import find

    _require_texts("symbols", symbols)
    found = find(source)
    first, last = _moment(start, found.calendar), _moment(end, found.calendar, end_of_day=True)
    table = found.history(symbols, first, last, frequency)
    return BarPanel.from_table(with_calendar(table, found.calendar))


def frame_bars(
    frame: pd.DataFrame,
    symbol: str = "",
    *,
    calendar: str = "XNYS",
    timezone: str = "",
    stamp: str = "",
    extra: tuple[str, ...] = (),
) -> BarPanel:
    """The bars of a data frame of one's own, read as a file of bars is and checked by every quality rule.

    Columns (or names of the index) are `timestamp` or `date`, `close`, and `symbol` unless all rows are of
    one `symbol`; open, high, low, volume, `adjustment` and `adjusted_close` may be missing, `extra` are
    further numeric ones. Bare dates, which pandas writes as midnights without a zone, are the closes of their
    sessions; `timezone` is that of times without one, and `stamp` says what times are where that is not
    plain: `open`, `close` or `date`. Raises `DataError` for what is no bar.
    """
    import pandas as pd
    import pyarrow as pa

    from marketdata.files.bar_columns import BarColumns
    from marketdata.files.folder_source import rebased
    from marketdata.quality.checks import require_clean

    if not isinstance(frame, pd.DataFrame):
        raise InputError(f"frame is a {type(frame).__name__}; give a pandas DataFrame")
    if isinstance(frame.index, pd.DatetimeIndex) and frame.index.name is None:
        frame = frame.rename_axis("timestamp")
    if any(name is not None for name in frame.index.names):
        frame = frame.reset_index()
    label, columns = "the data frame", BarColumns(calendar, timezone, extra=extra, stamp=stamp)
    frame = frame.rename(columns=str)
    found = columns.find(list(frame.columns), label, symbol_known=bool(symbol))
    times = frame[found["timestamp"]]
    if not stamp and not timezone and _are_dates(times):
        frame = frame.assign(**{found["timestamp"]: times.dt.date})
    raw = pa.Table.from_pandas(frame, preserve_index=False)
    table = columns.convert(raw, found, label, symbol)
    if "adjusted_close" in found and "adjustment" not in found:
        table = rebased(table)
    table = table.sort_by([("timestamp", "ascending"), ("symbol", "ascending")])
    require_clean(table, calendar, label)
    return BarPanel.from_table(table)


def features(
    panel: BarPanel,
    *names: str,
    formulas: Mapping[str, str] | None = None,
    indicators: Iterable[Indicator] = (),
) -> pd.DataFrame:
    """Features of every bar, float32, by timestamp and symbol; the named features where none are asked for.

    `names` are features, indicators or formulas (`name = formula`); see `features.feature_set.FeatureSet`.
    """
    import pandas as pd

    from features.compute.batch import backfill
    from features.default_features import NAMED
    from features.feature_set import FeatureSet

    if not isinstance(panel, BarPanel):
        raise InputError(f"features are made of bars, and this is a {type(panel).__name__}; see `bars`")
    _require_texts("features", names)
    frame = backfill(panel, FeatureSet(names or tuple(NAMED), formulas, indicators))
    index = pd.MultiIndex.from_product(
        [pd.DatetimeIndex(frame.timestamps, tz="UTC"), frame.symbols], names=["timestamp", "symbol"]
    )
    return pd.DataFrame(frame.values.reshape(-1, len(frame.names)), index=index, columns=list(frame.names))


def _are_dates(times: pd.Series) -> bool:
    """True for midnights without a zone, which is how pandas writes bare dates."""
    if times.dtype.kind != "M" or getattr(times.dt, "tz", None) is not None:
        return False
    return bool((times == times.dt.normalize()).all())


def _require_texts(what: str, given: tuple[str, ...]) -> None:
    for one in given:
        if not isinstance(one, str):
            raise InputError(f"{what} are texts, one after the other; {one!r} is a {type(one).__name__}")


def _moment(text: str, calendar: str, *, end_of_day: bool = False) -> datetime | None:
    """The first (or last) moment of a day of the calendar, or the moment with a time zone that is written."""
    if not text:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except (TypeError, ValueError) as error:
        raise InputError(f"{text!r} is no day; write it as '2010-01-31'") from error
    if len(text) == len("2010-01-31"):
        return day_span(moment.date(), calendar)[end_of_day]
    if moment.tzinfo is None:
        raise InputError(f"{text!r} has no time zone; write '2010-01-31T16:00+00:00', or the day alone")
    return moment.astimezone(UTC)
