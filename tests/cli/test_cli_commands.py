"""The verbs on a real workspace: each does its work and answers in words and in JSON."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.request import urlopen

import grpc
import pytest
import trustme

from alphaloop.bars import Slice
from alphaloop.errors import VendorError
from alphaloop.runtime.processes import free_port
from cli import main
from trading.engine import BarOutcome, TradingEngine

Command = Callable[..., str]
KNOWN_TO = "2018-12-31"


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A home with features built and the baseline trained, as a newcomer would."""
    folder = tmp_path_factory.mktemp("workspace")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("ALPHALOOP_HOME", str(folder / "home"))
        patch.setenv("ALPHALOOP_SERVING__GRPC_PORT", str(free_port()))
        for name in ("HTTP_PORT", "METRICS_PORT"):
            patch.setenv(f"ALPHALOOP_SERVING__{name}", "0")
        patch.setattr(main, "_stop_what_was_started", lambda: None)
        for arguments in (["features", "build", "--until", KNOWN_TO], ["train", "momentum", "--trials", "0"]):
            assert main.run_command(arguments) == 0
        yield folder / "home"


@pytest.fixture
def run(workspace: Path, capsys: pytest.CaptureFixture[str]) -> Command:
    """Run a verb; gives what it printed."""

    def run_verb(*arguments: str, code: int = 0) -> str:
        got = main.run_command(list(arguments))
        shown = capsys.readouterr()
        assert got == code, shown.err
        return shown.out if code == 0 else shown.out + shown.err

    return run_verb


def parsed(shown: str) -> Any:
    """The JSON that was printed."""
    return json.loads(shown)


def test_data_lists_shows_and_checks(run: Command) -> None:
    """The sources are listed, their bars shown and found clean, in both forms."""
    assert {"sp500-20", "simulated"} <= {one["source"] for one in parsed(run("data", "list", "--json"))}
    assert "sp500-20" in run("data", "list")
    shown = parsed(
        run("data", "show", "--symbols", "AAPL,AMD", "--from", "2019-01-01", "--to", "2019-01-31", "--json")
    )
    assert [one["symbol"] for one in shown["bars"]] == ["AAPL", "AMD"]
    assert shown["rows"] == 2 * 21
    assert "2019-01-31" in run("data", "show", "--symbols", "AAPL", "--to", "2019-01-31")
    assert "nothing wrong" in run("data", "check")
    assert [
        one for one in parsed(run("data", "check", "--json"))["findings"] if one["severity"] == "error"
    ] == []


def test_the_past_streams_as_if_it_were_live(run: Command) -> None:
    """A replayed period prints each bar with who told of it, and ends after as many bars as asked for."""
    arguments = ("data", "stream", "--replay", "2019-01-02:2019-01-31", "--frequency", "1d")
    lines = run(*arguments, "--symbols", "AAPL,AMD", "--bars", "3").splitlines()
    assert len(lines) == 6
    assert all("sp500-20" in line for line in lines)
    assert lines[0].startswith("2019-01-02T21:00:00+00:00  AAPL")
    assert "bars of the past only" in run("data", "stream", code=2)
    assert "not of the form FROM:TO" in run("data", "stream", "--replay", "2019", code=2)


def test_a_bad_file_is_refused_by_name(run: Command, tmp_path: Path) -> None:
    """A negative price in a file is found, named and answered with exit code 2, in both forms."""
    file = tmp_path / "bars.csv"
    file.write_text("symbol,timestamp,close\nA,2019-01-02T21:00:00Z,10\nA,2019-01-03T21:00:00Z,-1\n")
    line = run("data", "check", str(file), code=2)
    assert "bars.csv" in line.splitlines()[-1]
    assert "[price] A at 2019-01-03" in line
    run("data", "check", "--file", str(file), "--json", code=2)


def test_features_are_listed_materialised_and_in_parity(run: Command) -> None:
    """The catalogue has its hash, the online store takes the newest bar, and all three ways agree."""
    listed = parsed(run("features", "list", "--json"))
    assert len(listed["features"]) >= 20
    assert listed["set_hash"] in run("features", "list")
    assert "20 windows of" in run("features", "materialize")
    report = parsed(run("features", "parity", "--bars", "5", "--json"))
    assert report["max_abs_diff"] <= 1e-6
    assert "largest difference over 3 bars" in run("features", "parity", "--bars", "3")


def test_a_snapshot_of_other_symbols_is_not_taken_for_the_settings(
    run: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the settings ask for other symbols than the newest snapshot holds, it says so and what to do."""
    monkeypatch.setenv("ALPHALOOP_DATA__SYMBOLS", '["AAPL", "KO"]')
    line = run("features", "parity", "--bars", "3", code=2)
    assert "holds 20 symbols" in line
    assert "ask for 2 (AAPL, KO" in line
    assert "alphaloop features build" in line


def test_models_are_listed_and_shown(run: Command) -> None:
    """The first version that passed is champion, and its card can be read."""
    (row,) = [one for one in parsed(run("models", "list", "--json")) if one["model"] == "equities"]
    assert (row["family"], row["role"], row["gate"]["passed"]) == ("momentum", "champion", True)
    card = parsed(run("models", "show", "--json"))
    assert card["trained"].endswith("2018-12-20")
    assert len(card["walk_forward"]) >= 2
    assert "gate: passed" in run("models", "show", "equities", "1")
    assert "champion" in run("models", "list")
    assert "unknown version '99'" in run("models", "show", "equities", "99", code=2)


def test_a_second_version_is_no_champion(run: Command) -> None:
    """Under another name a model starts anew; under the same one it would have to earn capital."""
    trained = parsed(run("train", "momentum", "--trials", "0", "--model", "other", "--json"))
    again = run("train", "momentum", "--trials", "0", "--model", "other")
    assert trained["champion"] is True
    assert "gate" in again
    rows = [row for row in parsed(run("models", "list", "--json")) if row["model"] == "other"]
    assert [row["role"] for row in rows] == ["champion", ""]


def test_a_backtest_says_whether_it_is_in_sample(run: Command) -> None:
    """Without a date the bars after training are traded; before them it is called what it is."""
    after = parsed(run("backtest", "equities", "--to", "2019-03-29", "--json"))
    assert after["in_sample"] is False
    # Learned up to 2018-12-20 on labels that end six bars later, on 2018-12-31.
    assert after["first"] == "2019-01-02"
    assert after["orders"] > 0
    shown = run("backtest", "equities", "--from", "2018-10-01", "--to", "2018-12-31")
    assert "in sample" in shown
    assert "equal weight" in shown
    assert "strategy: allocation (tilt 0.5" in shown
    reached = parsed(run("backtest", "equities", "--from", "2018-12-28", "--to", "2019-03-29", "--json"))
    assert reached["in_sample"] is True, "the labels of training reach into these days"
    assert "leaves nothing to trade" in run("backtest", "equities", "--from", "2030-01-01", code=2)
    assert "nothing is left" in run("backtest", "equities", "--to", "2018-12-01", code=2)
    assert "unknown model 'equitie'" in run("backtest", "equitie", code=2)


def test_a_backtest_names_the_strategy_and_says_where_the_card_names_another(
    run: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The figures are of the settings' strategy; where it is that of the card nothing is said."""
    days = ("--from", "2018-10-01", "--to", "2018-12-31")
    same = parsed(run("backtest", "equities", *days, "--json"))
    assert same["traded_by"]["name"] == "allocation" and not any("card" in line for line in same["notices"])
    monkeypatch.setenv("ALPHALOOP_TRADING__TILT", "0.9")
    other = parsed(run("backtest", "equities", *days, "--json"))
    assert other["traded_by"]["parameters"]["tilt"] == 0.9
    assert any("figures on the card of version" in line for line in other["notices"])
    assert other["strategy"] != same["strategy"]
    monkeypatch.setenv("ALPHALOOP_TRADING__STRATEGY", "no-such")
    for verb in (("backtest", "equities"), ("train", "momentum"), ("trade",)):
        assert "unknown strategy 'no-such'; known: allocation" in run(*verb, code=2)


def test_without_a_server_predict_and_trade_say_how_to_start_one(run: Command) -> None:
    """Nobody answers on the port: the line names the command that mends it."""
    assert "`alphaloop serve`" in run("predict", code=2)
    assert "`alphaloop serve`" in run("trade", "--wait", "0", code=2)


def test_a_server_that_speaks_tls_is_told_from_none(run: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who is there and not understood is named in one line, with the setting that mends it."""
    leaf = trustme.CA().issue_cert("127.0.0.1")
    pair = (leaf.private_key_pem.bytes(), leaf.cert_chain_pems[0].bytes())
    server = grpc.server(ThreadPoolExecutor(1))
    url = f"127.0.0.1:{server.add_secure_port('127.0.0.1:0', grpc.ssl_server_credentials([pair]))}"
    server.start()
    monkeypatch.setenv("ALPHALOOP_CLIENT__URLS", url)
    try:
        for verb in ("predict", "trade"):
            shown = run(verb, code=2)
            assert f"alphaloop: {url} speaks TLS, and the client clear text; set client.authority" in shown
            assert shown.count("\n") == 1
    finally:
        server.stop(0).wait()


def test_a_served_model_trades_and_its_trail_holds(
    run: Command, workspace: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Serve, predict, trade twice, look at drift, verify and replay; then an altered byte is found."""
    server = subprocess.Popen(
        [sys.executable, "-m", "cli.main", "serve", "--runtime", "process"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**os.environ, "PYTHONSAFEPATH": "1"},
    )  # fmt: skip
    try:
        assert server.stdout is not None
        assert any("ready" in line for line in server.stdout)
        _predict(run)
        order = _trade(run, monkeypatch)
    finally:
        server.send_signal(signal.SIGINT)
        _, said = server.communicate(timeout=30)
    assert said.splitlines()[-1] == "drained and stopped"
    assert parsed(run("monitor", "--once", "--json"))["bars"] == 8
    assert "share" in run("monitor")
    _carry(run, monkeypatch)
    assert all(chain["ok"] for chain in parsed(run("audit", "verify", "--json")))
    assert parsed(run("audit", "replay", order, "--json"))["identical"] is True
    assert "unknown order 'al-0'" in run("audit", "replay", "al-0", code=2)
    shutil.copytree(workspace / "journal", tmp_path / "journal")
    monkeypatch.setenv("ALPHALOOP_HOME", str(tmp_path))
    _alter(tmp_path / "journal" / "journal.db")
    found = run("audit", "verify", code=1)
    assert "broken" in found
    assert "was altered" in found


def _predict(run: Command) -> None:
    run("features", "materialize")
    forecast = parsed(run("predict", "--symbols", "AAPL,AMD", "--json"))
    assert forecast["symbols"] == ["AAPL", "AMD"]
    assert forecast["as_of"].startswith(KNOWN_TO)
    assert "(champion)" in run("predict", "--as-of", KNOWN_TO)
    assert "unknown symbol 'APPL'" in run("predict", "--symbols", "APPL", code=2)
    assert "before the first bar" in run("predict", "--as-of", "1999-01-04", code=2)
    assert "gave no prediction" in run("predict", "--as-of", "2010-01-04", code=2)


def _trade(run: Command, monkeypatch: pytest.MonkeyPatch) -> str:
    assert "is not of the form FROM:TO" in run("trade", "--replay", "2019", code=2)
    assert "up to which this workspace knows" in run("trade", "--replay", "2018-01-02:2019-01-04", code=2)
    address, port = "127.0.0.2", free_port()
    monkeypatch.setenv("ALPHALOOP_ROLLOUT__METRICS_HOST", address)
    monkeypatch.setenv("ALPHALOOP_ROLLOUT__METRICS_PORT", str(port))
    with _scraped(f"http://{address}:{port}/metrics") as pages:
        first = parsed(run("trade", "--replay", "2019-01-03:2019-01-08", "--json"))
    # The page is that of the run's own controller, there while it trades, at the address of the settings.
    assert 'alphaloop_rollout_state{model="equities",state="steady"} 1.0' in pages[-1]
    monkeypatch.delenv("ALPHALOOP_ROLLOUT__METRICS_PORT")
    assert (first["bars"], first["predictions"], first["errors"]) == (4, 80, 0)
    _cut_off(run, monkeypatch)
    second = parsed(run("trade", "--replay", "2019-01-09:2019-01-10", "--json"))
    # It goes on with the book of before, with the bar that was stored, published and not decided.
    assert (second["first"], second["bars"], second["errors"]) == ("2019-01-10", 1, 0)
    assert second["fills"] > 0
    assert abs(float(second["equity"]) / float(first["equity"]) - 1) < 0.1
    assert "equity" in run("trade", "--replay", "2019-01-11:2019-01-11")
    assert "no bar is new" in run("trade", "--replay", "2019-01-12:2019-01-13", code=2)
    return str(second["last_order"] or first["last_order"])


def _carry(run: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    before = parsed(run("book", "show", "--json"))
    assert before["sleeves"] == 20
    assert "AAPL" in run("book", "show")
    monkeypatch.setenv("ALPHALOOP_TRADING__SLEEVES", "24")
    after = parsed(run("book", "carry", "--reason", "more sleeves", "--json"))
    assert (after["sleeves"], after["open_orders"], after["sales"]) == (24, 0, [])
    assert (after["positions"], after["equity"]) == (before["positions"], before["equity"])
    monkeypatch.delenv("ALPHALOOP_TRADING__SLEEVES")


def _cut_off(run: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run that fails once its second bar was stored and its features were published."""
    traded = TradingEngine.on_bar
    given: list[datetime] = []

    def fails(engine: TradingEngine, bars: Slice) -> BarOutcome:
        given.append(bars.timestamp)
        if len(given) == 2:
            raise VendorError("no space left on device")
        return traded(engine, bars)

    with monkeypatch.context() as patched:
        patched.setattr(TradingEngine, "on_bar", fails)
        assert "no space left" in run("trade", "--replay", "2019-01-09:2019-01-10", code=3)


@contextmanager
def _scraped(url: str) -> Iterator[list[str]]:
    """What is scraped at `url` while the block runs; nobody listens there before it or after it."""
    pages: list[str] = []
    ended = threading.Event()

    def scrape() -> None:
        while not ended.wait(0.01):
            with suppress(URLError), urlopen(url, timeout=5) as answer:
                pages.append(answer.read().decode())

    with pytest.raises(URLError, match="refused"):
        urlopen(url, timeout=5)
    scraper = threading.Thread(target=scrape)
    scraper.start()
    try:
        yield pages
    finally:
        ended.set()
        scraper.join()
    with pytest.raises(URLError, match="refused"):
        urlopen(url, timeout=5)


def _alter(journal: Path) -> None:
    """Change one character of one journaled body."""
    with sqlite3.connect(journal) as connection:
        table = next(
            name for (name,) in connection.execute("select name from sqlite_master where type='table'")
            if "body" in [column[1] for column in connection.execute(f"pragma table_info({name})")]
        )  # fmt: skip
        connection.execute("PRAGMA writable_schema=OFF")
        for (trigger,) in list(connection.execute("select name from sqlite_master where type='trigger'")):
            connection.execute(f"drop trigger {trigger}")
        connection.execute(
            f"update {table} set body = replace(body, '2019-01-03', '2019-01-13') where stream='trading'"
        )


def test_a_rollout_is_started_seen_and_ended_by_hand(run: Command) -> None:
    """A named override starts a version, the status shows it, and an abort is journaled with its reason."""
    run("train", "momentum", "--trials", "0", "--model", "drilled")
    run("train", "momentum", "--trials", "0", "--model", "drilled")
    override = ("--override", "drill", "--reason", "a test", "--by", "tester", "--kind", "sabotage")
    started = parsed(
        run("rollout", "start", "2", "--model", "drilled", *override, "--rotate-inputs", "1", "--json")
    )
    assert started["override"]["rotate_inputs"] == 1
    assert started["state"] == "shadow"
    assert "challenger" in run("rollout", "status", "--model", "drilled")
    ended = parsed(run("rollout", "abort", "--model", "drilled", "--reason", "seen enough", "--json"))
    assert ended["outcome"] == "rolled_back"
    run("rollout", "start", "2", "--model", "drilled", *override)
    promoted = parsed(run("rollout", "promote", "--model", "drilled", "--reason", "by hand", "--json"))
    assert promoted["champion"] == "2"
    assert len(parsed(run("rollout", "status", "--model", "drilled", "--json"))["history"]) == 5


def test_pipelines_are_listed_compiled_and_run(
    run: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The YAML is Kubeflow's, and arguments reach the runner by name."""
    assert "retraining" in parsed(run("pipeline", "list", "--json"))
    assert "retrain" in run("pipeline", "list")
    path = tmp_path / "retrain.yaml"
    assert str(path) in run("pipeline", "compile", "retrain", "--output", str(path))
    assert "pipelineSpec" in path.read_text() or "schemaVersion" in path.read_text()
    monkeypatch.setattr(
        "pipelines.local_runner.run_pipeline", lambda name, settings, **given: {"ran": name, **given}
    )
    assert parsed(run("pipeline", "run", "retrain", "family=momentum", "--json")) == {
        "ran": "retrain",
        "family": "momentum",
    }


def test_doctor_answers_in_both_forms(run: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is needed is marked, and a needed thing that is missing is exit code 1."""
    from cli import doctor

    fine = doctor.MachineCheck(name="Python", ok=True, found="3.11", mend="")
    lacking = doctor.MachineCheck(
        name="libgomp1", ok=False, found="not found", mend="apt-get install -y libgomp1"
    )
    optional = doctor.MachineCheck(name="chromium", ok=False, found="not found", mend="none", required=False)
    monkeypatch.setattr(doctor, "check_machine", lambda settings: [fine, optional])
    assert "everything needed is here" in run("doctor")
    assert [one["name"] for one in parsed(run("doctor", "--json"))] == ["Python", "chromium"]
    monkeypatch.setattr(doctor, "check_machine", lambda settings: [fine, lacking])
    assert "apt-get install -y libgomp1" in run("doctor", code=1)


def test_the_demo_command_hands_on_its_exit_code(run: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the story ends with is what the shell sees."""
    monkeypatch.setattr("cli.demo.command.run_demo", lambda: 130)
    run("demo", code=130)
