"""Shortcuts for notebooks: bars of a source or a data frame, and features as a data frame.

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
    """Load bars of `symbols` from a source.

    Parameters
    ----------
    source : str
        Name of the source.
    *symbols : str
        Symbols to load; all if none are named.
    start, end : str, default ""
        First and last day, both included, as 2010-01-31 in the source's calendar; or a moment with its time
        zone. Empty for no limit.
    frequency : str, default "1d"
        Length of a bar.

    Returns
    -------
    BarPanel
        Bars as traded, with the source's calendar.

    Raises
    ------
    UnknownNameError
        For a source or symbol that does not exist.
    InputError
        For a symbol that is no text, or a date that cannot be read.
    """
    from marketdata.sources.registry import find_source

    _require_texts("symbols", symbols)
    data_source = find_source(source)
    first, last = (
        _parse_moment(start, data_source.calendar),
        _parse_moment(end, data_source.calendar, end_of_day=True),
    )
    table = data_source.history(symbols, first, last, frequency)
    return BarPanel.from_table(with_calendar(table, data_source.calendar))


def frame_bars(
    frame: pd.DataFrame,
    symbol: str = "",
    *,
    calendar: str = "XNYS",
    timezone: str = "",
    stamp: str = "",
    extra: tuple[str, ...] = (),
) -> BarPanel:
    """Convert a pandas data frame into bars, checked by every quality rule.

    Parameters
    ----------
    frame : pandas.DataFrame
        Columns (or index levels) `timestamp` or `date`, `close`, and `symbol` unless `symbol` is given.
        Optional: `open`, `high`, `low`, `volume`, `adjustment` and `adjusted_close`.
    symbol : str, default ""
        Symbol of all rows.
    calendar : str, default "XNYS"
        Exchange calendar of the bars. Bare dates, which pandas writes as midnights without a zone, become the
        closes of their sessions.
    timezone : str, default ""
        Time zone of timestamps that have none.
    stamp : str, default ""
        Meaning of ambiguous timestamps: `open`, `close` or `date`.
    extra : tuple of str, default ()
        Further numeric columns to keep.

    Returns
    -------
    BarPanel
        Bars sorted by timestamp, float64.

    Raises
    ------
    InputError
        If `frame` is no data frame.
    DataError
        For rows that are no valid bars, and for columns that are missing.
    """
    import pandas as pd
    import pyarrow as pa

    from marketdata.files.bar_columns import BarColumns
    from marketdata.files.folder_source import rebase_adjustment
    from marketdata.quality.checks import require_clean

    if not isinstance(frame, pd.DataFrame):
        raise InputError(f"frame is a {type(frame).__name__}; give a pandas DataFrame")
    if isinstance(frame.index, pd.DatetimeIndex) and frame.index.name is None:
        frame = frame.rename_axis("timestamp")
    if any(name is not None for name in frame.index.names):
        frame = frame.reset_index()
    label, columns = "the data frame", BarColumns(calendar, timezone, extra=extra, stamp=stamp)
    frame = frame.rename(columns=str)
    column_names = columns.find(list(frame.columns), label, symbol_known=bool(symbol))
    times = frame[column_names["timestamp"]]
    if not stamp and not timezone and _are_dates(times):
        frame = frame.assign(**{column_names["timestamp"]: times.dt.date})
    raw = pa.Table.from_pandas(frame, preserve_index=False)
    table = columns.convert(raw, column_names, label, symbol)
    if "adjusted_close" in column_names and "adjustment" not in column_names:
        table = rebase_adjustment(table)
    table = table.sort_by([("timestamp", "ascending"), ("symbol", "ascending")])
    require_clean(table, calendar, label)
    return BarPanel.from_table(table)


def features(
    panel: BarPanel,
    *names: str,
    formulas: Mapping[str, str] | None = None,
    indicators: Iterable[Indicator] = (),
) -> pd.DataFrame:
    """Compute features of every bar as a data frame.

    Parameters
    ----------
    panel : BarPanel
        Bars, as from `bars` or `frame_bars`.
    *names : str
        Features, indicators or formulas (`name = formula`); the named features if none are given.
    formulas : mapping of str to str, optional
        Further formulas by name.
    indicators : iterable of Indicator, optional
        Further indicators.

    Returns
    -------
    pandas.DataFrame
        float32, indexed by timestamp and symbol; see `features.feature_set.FeatureSet`.

    Raises
    ------
    InputError
        If `panel` is no `BarPanel` or a name is no text, and as `FeatureSet` does.
    DataError
        If the bars lack a column that a feature needs.
    """
    import pandas as pd

    from features.compute.batch import backfill
    from features.default_features import NAMED_FEATURES
    from features.feature_set import FeatureSet

    if not isinstance(panel, BarPanel):
        raise InputError(f"features are made of bars, and this is a {type(panel).__name__}; see `bars`")
    _require_texts("features", names)
    frame = backfill(panel, FeatureSet(names or tuple(NAMED_FEATURES), formulas, indicators))
    index = pd.MultiIndex.from_product(
        [pd.DatetimeIndex(frame.timestamps, tz="UTC"), frame.symbols], names=["timestamp", "symbol"]
    )
    return pd.DataFrame(frame.values.reshape(-1, len(frame.names)), index=index, columns=list(frame.names))


def _are_dates(times: pd.Series) -> bool:
    """Return whether times are midnights without a zone, which is how pandas writes bare dates."""
    if times.dtype.kind != "M" or getattr(times.dt, "tz", None) is not None:
        return False
    return bool((times == times.dt.normalize()).all())


def _require_texts(what: str, given: tuple[str, ...]) -> None:
    for one in given:
        if not isinstance(one, str):
            raise InputError(f"{what} are texts, one after the other; {one!r} is a {type(one).__name__}")


def _parse_moment(text: str, calendar: str, *, end_of_day: bool = False) -> datetime | None:
    """Parse a day (its first or last moment in the calendar) or a moment with a time zone."""
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
