"""Yahoo: yfinance itself, over TLS, before a server on loopback that answers as Yahoo's hosts do."""

from __future__ import annotations

import json
import ssl
import threading
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from random import Random
from typing import Any
from urllib.parse import parse_qs, urlsplit
from zoneinfo import ZoneInfo

import numpy as np
import pytest

from alphaloop.bars import BARS_SCHEMA, BarPanel
from alphaloop.clock import ReplayClock
from alphaloop.errors import DataError, InputError, UnknownNameError, VendorError
from marketdata.calendars import closes_of, session_closes
from marketdata.connectors.rate_limit import VenueUnavailableError, requested_wait
from marketdata.connectors.retry import GaveUpError, RetryPolicy
from marketdata.point_in_time.action_record import CorporateAction
from marketdata.point_in_time.corporate_actions import apply_actions
from marketdata.quality.checks import check_bars
from marketdata.sources import registry
from marketdata.sources.yfinance import YahooSource

NEW_YORK = ZoneInfo("America/New_York")
HOSTS = ("query1.finance.yahoo.com", "query2.finance.yahoo.com", "fc.yahoo.com", "guce.yahoo.com")
NOW = datetime(2020, 9, 11, 18, tzinfo=UTC)
CRUMB = "c.R/umb"
COOKIE = "A3=d=AQABB; Domain=.yahoo.com; Path=/; Secure; Max-Age=3600"
META = {"exchangeTimezoneName": "America/New_York", "instrumentType": "EQUITY", "currency": "USD"}
# As traded: a dividend of 0.82 on 7 August and a split of 4 for 1 on 31 August 2020.
SPLIT_DAY, DIVIDEND_DAY = datetime(2020, 8, 31, tzinfo=NEW_YORK), datetime(2020, 8, 7, tzinfo=NEW_YORK)
TRADED = {
    "2020-08-05": 440.25, "2020-08-06": 455.61, "2020-08-07": 444.45, "2020-08-10": 450.91,
    "2020-08-28": 499.23, "2020-08-31": 129.04, "2020-09-01": 134.18, "2020-09-11": 112.00,
}  # fmt: skip
VOLUME = 1_000_000.0


@dataclass
class Venue:
    """What the server holds, which failures it has left to give, and what it was asked."""

    faults: list[tuple[int, dict[str, str], str]] = field(default_factory=list)
    meta: dict[str, Any] = field(default_factory=lambda: dict(META))
    broken: Any = None
    repeats_events: bool = False
    asked: list[dict[str, str]] = field(default_factory=list)
    hosts: Counter[str] = field(default_factory=Counter)
    cookies: list[str] = field(default_factory=list)

    def chart(self, symbol: str, query: dict[str, str]) -> tuple[int, Any]:
        if self.broken is not None:
            return 200, self.broken
        if symbol != "AAPL":
            error = {"code": "Not Found", "description": "No data found, symbol may be delisted"}
            return 404, {"chart": {"result": None, "error": error}}
        first, last = int(query["period1"]), int(query["period2"])
        bars = self.daily() if query["interval"] == "1d" else self.minutes(query["interval"])
        rows = [row for row in bars if first <= row[0] < last]
        names = ("open", "high", "low", "close", "volume")
        quotes = {name: [row[1][name] for row in rows] for name in names}
        events = {"splits": {"1": _split()}, "dividends": {"2": _dividend()}}
        if self.repeats_events:
            for told in events.values():
                told["3"] = {**next(iter(told.values())), "date": next(iter(told.values()))["date"] + 1800}
        result = {
            "meta": self.meta,
            "timestamp": [row[0] for row in rows],
            "events": events,
            "indicators": {"quote": [quotes], "adjclose": [{"adjclose": [1.0] * len(rows)}]},
        }
        return 200, {"chart": {"result": [result], "error": None}}

    def daily(self) -> list[tuple[int, dict[str, float | None]]]:
        rows = []
        for day, close in TRADED.items():
            opened = datetime.fromisoformat(f"{day}T09:30").replace(tzinfo=NEW_YORK)
            rows.append((int(opened.timestamp()), _shown(close, opened)))
        nothing = dict.fromkeys(("open", "high", "low", "close", "volume"))
        halted = datetime(2020, 9, 2, 9, 30, tzinfo=NEW_YORK)
        return sorted([*rows, (int(halted.timestamp()), nothing)], key=lambda row: row[0])

    def minutes(self, interval: str) -> list[tuple[int, dict[str, float | None]]]:
        step = {"1m": 1, "5m": 5, "15m": 15, "60m": 60}[interval]
        rows = []
        for day in session_closes(date(2020, 8, 24), NOW.date()).astype("datetime64[D]").tolist():
            start = datetime(day.year, day.month, day.day, 9, 30, tzinfo=NEW_YORK)
            for place in range(0, 390, step):
                moment = start + timedelta(minutes=place)
                if moment.astimezone(UTC) < NOW:
                    rows.append((int(moment.timestamp()), _shown(100.0, moment)))
        live = NOW - timedelta(seconds=77)
        return [*rows, (int(live.timestamp()), _shown(100.0, live))]


def _shown(traded: float, moment: datetime) -> dict[str, float | None]:
    """As Yahoo shows it: as if every split had always been."""
    ratio = 4.0 if moment < SPLIT_DAY else 1.0
    price = traded / ratio
    prices = {"open": price, "high": price * 1.01, "low": price * 0.99, "close": price}
    return {**prices, "volume": VOLUME * ratio}


def _split() -> dict[str, Any]:
    return {"date": _opening(SPLIT_DAY), "numerator": 4.0, "denominator": 1.0, "splitRatio": "4:1"}


def _dividend() -> dict[str, Any]:
    return {"date": _opening(DIVIDEND_DAY), "amount": 0.82 / 4}


def _opening(day: datetime) -> int:
    return int((day + timedelta(hours=9, minutes=30)).timestamp())


def _handler(venue: Venue, context: ssl.SSLContext) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_CONNECT(self) -> None:
            """A proxy's tunnel, at whose other end this same server is each of Yahoo's hosts."""
            self.send_response(200)
            self.end_headers()
            self.connection = context.wrap_socket(self.connection, server_side=True)
            self.rfile, self.wfile = self.connection.makefile("rb"), self.connection.makefile("wb", 0)
            self.close_connection = False

        def finish(self) -> None:
            super().finish()
            self.connection.close()

        def do_GET(self) -> None:
            url = urlsplit(self.path)
            host = self.headers["Host"].split(":")[0]
            venue.hosts[host] += 1
            query = {name: values[0] for name, values in parse_qs(url.query).items()}
            if host == "fc.yahoo.com":
                self.answer(404, "", {"Set-Cookie": COOKIE})
            elif url.path == "/v1/test/getcrumb":
                self.answer(200, CRUMB)
            elif url.path.startswith("/v8/finance/chart/"):
                venue.asked.append(query)
                venue.cookies.append(self.headers.get("Cookie") or "")
                if venue.faults:
                    status, headers, body = venue.faults.pop(0)
                    self.answer(status, body, headers)
                else:
                    status, chart = venue.chart(url.path.rsplit("/", 1)[1], query)
                    self.answer(status, json.dumps(chart))
            else:
                self.answer(404, "")

        def answer(self, status: int, body: str, headers: dict[str, str] | None = None) -> None:
            content = body.encode()
            self.send_response(status)
            for name, value in (headers or {}).items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *arguments: object) -> None:
            """The test's output is its own."""

    return Handler


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A key and a certificate for Yahoo's hosts, in one file that is its own authority."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "yahoo.com")])
    now = datetime.now(UTC)
    built = (
        x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1)).not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(host) for host in HOSTS]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )  # fmt: skip
    encoding = serialization.Encoding.PEM
    path = tmp_path_factory.mktemp("yahoo") / "certificate.pem"
    private = key.private_bytes(encoding, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    path.write_bytes(private + built.public_bytes(encoding))
    return path


@pytest.fixture
def venue() -> Venue:
    """What the server will say."""
    return Venue()


@pytest.fixture
def yahoo(venue: Venue, certificate: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[YahooSource]:
    """The source before the server, with its waits cut short."""
    from yfinance.cache import _CookieCacheDummy, _CookieCacheManager
    from yfinance.data import SingletonMeta

    # One YfData serves a process, and a file the machine: they would keep cookie and crumb of other tests.
    monkeypatch.setattr(SingletonMeta, "_instances", {})
    monkeypatch.setattr(_CookieCacheManager, "_Cookie_cache", _CookieCacheDummy())
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(venue, context))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    proxy = f"http://127.0.0.1:{server.server_port}"
    options = {"verify": str(certificate), "proxies": {"https": proxy}, "trust_env": False}
    waits: list[float] = []
    retry = RetryPolicy(
        on=(VenueUnavailableError,),
        retry_after=requested_wait,
        attempts=4,
        base=0.01,
        random=Random(1),
        sleep=waits.append,
    )
    source = YahooSource(options=options, timeout=5.0, clock=ReplayClock(NOW), retry=retry)
    object.__setattr__(source, "waits", waits)
    yield source
    source._session.close()
    server.shutdown()
    thread.join()
    server.server_close()


def test_daily_bars_are_as_traded_with_a_forward_factor(yahoo: YahooSource, venue: Venue) -> None:
    """Prices and volumes are those of their day, and the factor grows at each ex-date, never before."""
    table = yahoo.history(("AAPL",))
    assert table.schema == BARS_SCHEMA
    panel = BarPanel.from_table(table)
    days = [str(one)[:10] for one in panel.timestamps]
    assert days == [day for day in TRADED if day != "2020-09-11"]
    np.testing.assert_allclose(panel.close[:, 0], [TRADED[day] for day in days], rtol=1e-12)
    np.testing.assert_allclose(panel.volume[:, 0], VOLUME)
    assert (panel.timestamps == closes_of([np.datetime64(day).item() for day in days])).all()
    dividend = 455.61 / (455.61 - 0.82)
    expected = [1.0, 1.0, dividend, dividend, dividend, 4 * dividend, 4 * dividend]
    np.testing.assert_allclose(panel.adjustment[:, 0], expected, rtol=1e-12)
    assert [one for one in check_bars(table, "XNYS") if one.rule != "gap"] == []
    assert venue.asked[-1]["crumb"] == CRUMB
    assert "A3=d=AQABB" in venue.cookies[-1]
    assert set(venue.hosts) == {"fc.yahoo.com", "query1.finance.yahoo.com", "query2.finance.yahoo.com"}


def test_the_factor_is_that_of_the_dated_actions(yahoo: YahooSource) -> None:
    """Raw bars and the table of actions make the same adjustment as the source gives with the bars."""
    table = yahoo.history(("AAPL",))
    rows = yahoo.actions(("AAPL",)).to_pylist()
    assert [(row["kind"], str(row["ex_date"])) for row in rows] == [
        ("cash_dividend", "2020-08-07"),
        ("split", "2020-08-31"),
    ]
    assert [row["value"] for row in rows] == [pytest.approx(0.82), 4.0]
    assert rows[1]["published"] == datetime(2020, 8, 31, 4, tzinfo=UTC)
    raw = table.set_column(7, "adjustment", [np.ones(table.num_rows)])
    actions = [CorporateAction(**row) for row in rows]
    applied = apply_actions(BarPanel.from_table(raw), actions, as_of=NOW)
    np.testing.assert_allclose(applied.adjustment, BarPanel.from_table(table).adjustment, rtol=1e-12)
    late = yahoo.actions(("AAPL",), start=datetime(2020, 8, 8, tzinfo=UTC))
    assert late["kind"].to_pylist() == ["split"]


def test_events_that_yahoo_tells_twice_of_a_day_count_once(yahoo: YahooSource, venue: Venue) -> None:
    """A split and a dividend that come a second time at another minute change neither prices nor factor."""
    once = yahoo.history(("AAPL",))
    venue.repeats_events = True
    assert yahoo.history(("AAPL",)).equals(once)


def test_what_is_asked_for_changes_no_bar(yahoo: YahooSource) -> None:
    """A part of history holds the rows that the whole holds, adjustment included, both ends included."""
    whole = yahoo.history(("AAPL",))
    moments = whole["timestamp"].to_pylist()
    part = yahoo.history(("AAPL",), moments[3], moments[5])
    assert part.equals(whole.slice(3, 3))
    earlier = YahooSource(options=yahoo.options, clock=ReplayClock(datetime(2020, 8, 30, tzinfo=UTC)))
    np.testing.assert_allclose(
        earlier.history(("AAPL",), end=moments[2])["adjustment"].to_numpy(),
        whole.slice(0, 3)["adjustment"].to_numpy(),
    )
    earlier._session.close()


def test_minutes_come_in_pieces_and_only_closed_ones(yahoo: YahooSource, venue: Venue) -> None:
    """Nineteen days of minutes are three requests; each bar comes once, none is open, none off the grid."""
    first = datetime(2020, 8, 24, 14, tzinfo=UTC)
    table = yahoo.history(("AAPL",), first, frequency="1m")
    asked = [query for query in venue.asked if query["interval"] == "1m"]
    assert len(asked) == 3
    assert all(int(query["period2"]) - int(query["period1"]) <= 8 * 86_400 for query in asked)
    moments = table["timestamp"].to_pylist()
    assert len(moments) == len(set(moments)) == 13 * 390 + 270 - 29
    assert (moments[0], moments[-1]) == (first, NOW)
    closes = table["close"].to_numpy()
    np.testing.assert_allclose(closes, 100.0)
    factors = table["adjustment"].to_numpy()
    monday = 5 * 390 - 29
    assert factors[monday] == pytest.approx(4 * factors[monday - 1])
    assert moments[monday].date() == SPLIT_DAY.date()


def test_the_last_bar_of_a_session_ends_with_it(yahoo: YahooSource) -> None:
    """Hours begin at half past nine, so the seventh is half an hour and closes at four."""
    day = datetime(2020, 8, 31, tzinfo=UTC)
    table = yahoo.history(("AAPL",), day, day + timedelta(days=1), "1h")
    ends = [f"{one.astimezone(NEW_YORK):%H:%M}" for one in table["timestamp"].to_pylist()]
    assert ends == ["10:30", "11:30", "12:30", "13:30", "14:30", "15:30", "16:00"]


@pytest.mark.parametrize("status", [500, 502, 503])
def test_a_server_that_stumbles_is_asked_again(yahoo: YahooSource, venue: Venue, status: int) -> None:
    """After server errors, which yfinance asks about twice each, the bars come all the same."""
    venue.faults = [(status, {}, "oops")] * 4
    assert yahoo.history(("AAPL",)).num_rows == 7
    assert len(yahoo.waits) == 2


def test_too_many_requests_waits_as_long_as_it_was_told(yahoo: YahooSource, venue: Venue) -> None:
    """After 429 the next request comes no earlier than Retry-After says, in seconds or as a date."""
    dated = {"Retry-After": "Fri, 11 Sep 2020 18:00:30 GMT"}
    venue.faults = [(429, {"Retry-After": "7"}, "slow")] * 2 + [(429, dated, "slow")] * 2
    assert yahoo.history(("AAPL",)).num_rows == 7
    assert yahoo.waits == [7.0, 30.0]


def test_failing_for_ever_ends_in_one_error(yahoo: YahooSource, venue: Venue) -> None:
    """A venue that never recovers gives VendorError, with its last word, after the attempts allowed."""
    venue.faults = [(503, {}, "down")] * 99
    with pytest.raises(GaveUpError, match=r"1d bars of 'AAPL'.*after 4 attempts.*Yahoo answers 503"):
        yahoo.history(("AAPL",))
    venue.faults = [(429, {"Retry-After": "3600"}, "slow")] * 99
    with pytest.raises(VendorError, match="past the deadline"):
        yahoo.history(("AAPL",))


def test_nobody_there_is_a_vendor_error(yahoo: YahooSource) -> None:
    """Where no connection can be made the error says so."""
    options = {"proxies": {"https": "http://127.0.0.1:9"}, "trust_env": False}
    alone = YahooSource(options=options, clock=yahoo.clock, retry=yahoo.retry)
    with pytest.raises(VendorError, match="Yahoo cannot be reached"):
        alone.history(("AAPL",))
    alone._session.close()


def test_strange_symbols_are_refused_at_the_venue(yahoo: YahooSource, venue: Venue) -> None:
    """An unknown symbol carries Yahoo's own word; one of another market says why it is not taken."""
    with pytest.raises(
        UnknownNameError, match=r"unknown symbol 'APPL' in source 'yahoo'; Yahoo says: No data"
    ):
        yahoo.history(("APPL",))
    venue.meta = {**META, "exchangeTimezoneName": "Europe/London"}
    with pytest.raises(DataError, match=r"'AAPL' \(EQUITY\) trades in Europe/London"):
        yahoo.history(("AAPL",))
    with pytest.raises(DataError, match="1w"):
        yahoo.history(("AAPL",), frequency="1w")


def test_symbols_that_cannot_be_listed_have_to_be_named(yahoo: YahooSource) -> None:
    """A source with more symbols than it can list is found by name and asks for the ones that are wanted."""
    assert registry.find_source("yahoo").symbols() == ()
    with pytest.raises(InputError, match=r"source 'yahoo' has more symbols than it can list; name"):
        yahoo.history(())


def _changed(*path: Any, value: Any) -> Any:
    """A good answer with one thing changed."""
    _, body = Venue().chart("AAPL", {"interval": "1d", "period1": "0", "period2": "9999999999"})
    place = body
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    return body


RESULT = ("chart", "result", 0)
MALFORMED = {
    "a list": [],
    "a text": "later",
    "no chart": {"finance": {}},
    "no result": {"chart": {"result": [], "error": None}},
    "no meta": _changed(*RESULT, "meta", value=None),
    "no quotes": _changed(*RESULT, "indicators", "quote", value=[]),
    "texts for prices": _changed(*RESULT, "indicators", "quote", 0, "close", value=["one"] * 9),
    "columns of other lengths": _changed(*RESULT, "indicators", "quote", 0, "open", value=[1.0]),
    "texts for times": _changed(*RESULT, "timestamp", value=["now"] * 9),
    "a split of nothing": _changed(*RESULT, "events", "splits", "1", "denominator", value=0.0),
    "an error of its own": {"chart": {"result": None, "error": {"code": "Oops", "description": "no"}}},
}


@pytest.mark.parametrize("body", MALFORMED.values(), ids=MALFORMED.keys())
def test_nonsense_is_not_believed(yahoo: YahooSource, venue: Venue, body: Any) -> None:
    """An answer that is not of Yahoo's schema is a VendorError that names the symbol."""
    venue.broken = body
    with pytest.raises(VendorError, match="AAPL"):
        yahoo.history(("AAPL",))


def test_a_page_in_place_of_json_is_asked_for_again(yahoo: YahooSource, venue: Venue) -> None:
    """The page that Yahoo shows when it is down counts as a server that stumbled."""
    venue.faults = [(200, {}, "<html>Will be right back</html>")]
    assert yahoo.history(("AAPL",)).num_rows == 7
    assert len(yahoo.waits) == 1
