"""Bars in a bucket: a real S3 endpoint, asked only for what is needed, and quiet about its credentials."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import traceback
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from alphaloop.clock import monotonic, sleep
from alphaloop.errors import DataError, InputError, VendorError
from alphaloop.runtime.processes import free_port
from marketdata.files import object_store
from marketdata.files.location import FileStorage
from marketdata.sources.folder import FAMILY

BUCKET = "market"
# Users, their policy, their key and the bucket are made before the server begins to check who asks.
UNCHECKED = 4


@dataclass(frozen=True)
class Endpoint:
    """A running server, the only key it lets in, and what it was asked for."""

    url: str
    key: str
    secret: str
    log: Path

    def asked(self) -> list[str]:
        """Method and path of every request so far."""
        return re.findall(r'"((?:GET|HEAD|PUT) \S+) HTTP', self.log.read_text(errors="replace"))


@pytest.fixture(scope="module")
def endpoint(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Endpoint]:
    """Moto's S3 server on a free port, which checks signatures; stopped afterwards."""
    pytest.importorskip("moto") if os.environ.get("CI") != "true" else __import__("moto")
    log, port = tmp_path_factory.mktemp("moto") / "log", free_port()
    with log.open("wb") as out:
        server = subprocess.Popen(
            [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)],
            stdout=out,
            stderr=out,
            env={**os.environ, "INITIAL_NO_AUTH_ACTION_COUNT": str(UNCHECKED)},
            start_new_session=True,
        )
        try:
            yield _prepared(f"http://127.0.0.1:{port}", server, log)
        finally:
            os.killpg(server.pid, signal.SIGKILL)
            server.wait()


def _prepared(url: str, server: subprocess.Popen[bytes], log: Path) -> Endpoint:
    import boto3
    from botocore.exceptions import EndpointConnectionError

    options = {"endpoint_url": url, "region_name": "us-east-1"}
    options |= {"aws_access_key_id": "nobody", "aws_secret_access_key": "nothing"}
    users = boto3.client("iam", **options)
    deadline = monotonic() + 60
    while True:
        try:
            users.create_user(UserName="reader")
            break
        except EndpointConnectionError:
            if monotonic() > deadline or server.poll() is not None:
                raise
            sleep(0.1)
    allowed = '{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"s3:*","Resource":"*"}]}'
    users.put_user_policy(UserName="reader", PolicyName="all", PolicyDocument=allowed)
    key = users.create_access_key(UserName="reader")["AccessKey"]
    boto3.client("s3", **options).create_bucket(Bucket=BUCKET)
    return Endpoint(url, key["AccessKeyId"], key["SecretAccessKey"], log)


@pytest.fixture
def bucket(endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch) -> Endpoint:
    """The endpoint, its credentials in the environment."""
    for name in list(os.environ):
        if name.startswith("AWS_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint.url)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", endpoint.key)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", endpoint.secret)
    return endpoint


def put(prefix: str, bars: pa.Table) -> None:
    """Store bars as one Parquet file for each symbol and year, partitioned as Hive does."""
    filesystem = FileStorage(f"s3://{BUCKET}").filesystem
    frame = bars.to_pandas()
    for (symbol, year), rows in frame.groupby([frame["symbol"], frame["timestamp"].dt.year]):
        part = pa.Table.from_pandas(rows, bars.schema, preserve_index=False).drop_columns(["symbol"])
        path = f"{BUCKET}/{prefix}/symbol={symbol}/year={year}/bars.parquet"
        pq.write_table(part, path, filesystem=filesystem)


def test_only_the_partitions_asked_for_are_fetched(bucket: Endpoint, table: pa.Table) -> None:
    """Of twelve files in the bucket, one symbol's one year fetches one, and the rows are those stored."""
    put("daily", table)
    source = FAMILY.find(f"s3://{BUCKET}/daily")
    assert source.symbols() == ("AAPL", "BAC", "JNJ", "KO", "RRC", "XOM")
    before = len(bucket.asked())
    start, end = datetime(2019, 3, 1, tzinfo=UTC), datetime(2019, 3, 31, tzinfo=UTC)
    found = source.history(("KO",), start, end)
    fetched = {line for line in bucket.asked()[before:] if "bars.parquet" in line}
    assert {line.split("?")[0] for line in fetched if line.startswith("GET")} == {
        f"GET /{BUCKET}/daily/symbol=KO/year=2019/bars.parquet"
    }, fetched
    expected = table.filter((table["symbol"].to_numpy() == "KO").tolist())
    expected = expected.filter([start <= moment <= end for moment in expected["timestamp"].to_pylist()])
    assert found.equals(expected)
    assert found.num_rows == 21


def test_a_bucket_is_appended_to_and_only_new_rows_become_a_delta(
    bucket: Endpoint, table: pa.Table, tmp_path: Path
) -> None:
    """What partitions bring later is stored as a delta, and partitions known long since are not fetched."""
    from marketdata.storage.incremental import update_snapshot
    from marketdata.storage.snapshots import SnapshotStore

    old = [moment.year == 2018 for moment in table["timestamp"].to_pylist()]
    put("growing", table.filter(old))
    source, store = FAMILY.find(f"s3://{BUCKET}/growing"), SnapshotStore(tmp_path)
    base = update_snapshot(store, source)
    assert (base.parent, base.rows) == (None, sum(old))
    assert update_snapshot(store, source) == base
    put("growing", table.filter([not one for one in old]))
    delta = update_snapshot(store, source)
    assert (delta.parent, delta.rows) == (base.id, table.num_rows)
    assert store.load(delta.id).equals(table)
    assert pq.read_table(delta.path).num_rows == table.num_rows - sum(old)
    # Standing in December 2019, nothing of 2018 is asked for.
    before = len(bucket.asked())
    assert update_snapshot(store, source) == delta
    fetched = [line for line in bucket.asked()[before:] if "bars.parquet" in line]
    assert fetched
    assert not [line for line in fetched if "year=2018" in line]


def test_credentials_may_lie_in_mounted_files(
    bucket: Endpoint, monkeypatch: pytest.MonkeyPatch, table: pa.Table, tmp_path: Path
) -> None:
    """With the key and the secret in files, as Kubernetes mounts them, the bucket is read."""
    put("mounted", table.slice(0, 6))
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        (tmp_path / name).write_text(os.environ[name] + "\n")
        monkeypatch.delenv(name)
        monkeypatch.setenv(f"{name}_FILE", str(tmp_path / name))
    assert FAMILY.find(f"s3://{BUCKET}/mounted").history().num_rows == 6


@pytest.mark.parametrize("wrong", ["key", "secret"])
def test_wrong_credentials_are_a_vendor_error_that_shows_no_secret(
    bucket: Endpoint, monkeypatch: pytest.MonkeyPatch, wrong: str
) -> None:
    """A key or secret that the server refuses is named as a matter of credentials; neither is shown."""
    values = {"key": "AKIAQQQQWWWWEEEERRRR", "secret": "s3cr3t/that+nobody=may-see"}
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", values["secret"])
    shown = [values["secret"]]
    if wrong == "key":
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", values["key"])
        shown.append(values["key"])
    with pytest.raises(VendorError, match=f"{BUCKET}.*check endpoint, credentials") as caught:
        FAMILY.find(f"s3://{BUCKET}/daily").history()
    told = "".join(traceback.format_exception(caught.value)) + repr(caught.value.__cause__)
    assert "\n" not in str(caught.value)
    assert not any(value in told for value in shown)


def test_an_endpoint_that_is_away_is_a_vendor_error_in_time(
    bucket: Endpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where nothing listens, the error comes within seconds and names the address."""
    started = monotonic()
    source = FAMILY.find(f"s3://{BUCKET}/daily?endpoint=http://127.0.0.1:{free_port()}")
    with pytest.raises(VendorError, match=f"s3://{BUCKET}/daily"):
        source.history()
    assert monotonic() - started < 20


def test_an_endpoint_that_does_not_answer_is_a_vendor_error_in_time(
    bucket: Endpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where a server takes the connection and says nothing, the wait ends after its limit."""
    monkeypatch.setattr(object_store, "REQUEST_SECONDS", 0.5)
    monkeypatch.setattr(object_store, "MAX_ATTEMPTS", 2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        source = FAMILY.find(f"s3://{BUCKET}/daily?endpoint=http://127.0.0.1:{silent.getsockname()[1]}")
        started = monotonic()
        with pytest.raises(VendorError, match=f"s3://{BUCKET}/daily"):
            source.history()
        assert monotonic() - started < 20


def test_what_is_not_in_the_bucket_is_named(bucket: Endpoint) -> None:
    """A prefix without files and a file that is no Parquet are data errors that name them."""
    with pytest.raises(DataError, match=f"s3://{BUCKET}/nothing: there is no such file or folder"):
        FAMILY.find(f"s3://{BUCKET}/nothing").history()
    filesystem = FileStorage(f"s3://{BUCKET}").filesystem
    with filesystem.open_output_stream(f"{BUCKET}/odd/bars.parquet") as out:
        out.write(b"PAR1 this is none PAR1")
    with pytest.raises((DataError, VendorError), match=f"s3://{BUCKET}/odd/bars.parquet"):
        FAMILY.find(f"s3://{BUCKET}/odd").history()


def test_nothing_is_read_before_the_first_use(monkeypatch: pytest.MonkeyPatch) -> None:
    """A source in a bucket can be made without credentials, network or server."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "half-a-pair")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY", raising=False)
    source = FAMILY.find("s3://somewhere/bars")
    with pytest.raises(InputError, match="AWS_SECRET_ACCESS_KEY") as caught:
        source.history()
    assert "half-a-pair" not in str(caught.value)


@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("s3://key:hunter2@bucket/bars", "holds no credentials"),
        ("s3:///bars", "no address of a bucket"),
        ("s3://bucket/bars?endpoint=minio:9000", "https://host:port"),
        ("s3://bucket/bars?endpoint=http://me:hunter2@minio:9000", "https://host:port"),
    ],
)
def test_addresses_that_cannot_be_are_refused(address: str, words: str) -> None:
    """An address with credentials in it, without a bucket, or with half an endpoint is refused in words."""
    with pytest.raises(InputError, match=words) as caught:
        FAMILY.find(address).history()
    assert "hunter2" not in str(caught.value)
