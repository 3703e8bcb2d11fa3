"""Stores of objects, as a folder and as a bucket: one contract, and each form's own errors."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pyarrow as pa
import pytest
from botocore.exceptions import ClientError

from alphaloop.errors import InputError, SettingsError, VendorError
from alphaloop.settings.settings import Settings, load_settings
from alphaloop.storage import s3_client as client_module
from alphaloop.storage.object_store import LateWriteError, MissingObjectError, ObjectStore, claim
from alphaloop.storage.opening import open_store
from alphaloop.storage.parquet import create_table, open_table
from alphaloop.storage.s3_client import s3_client
from alphaloop.storage.s3_store import MAX_CONFLICTS, S3Store


@pytest.fixture
def store(location: str) -> ObjectStore:
    """An empty store in each form."""
    return open_store(location)


def test_an_object_is_created_once_and_never_replaced_by_a_second_create(store: ObjectStore) -> None:
    """Of two writers of one name the second is refused, and the first one's bytes stay."""
    assert store.create("a/1", b"first")
    assert not store.create("a/1", b"second")
    assert not store.create_by("a/1", lambda path: path.write_bytes(b"third"))
    assert store.read("a/1") == b"first"
    assert not claim(store, "a/1", b"first")
    with pytest.raises(LateWriteError, match="a/1 was stored by another process before"):
        claim(store, "a/1", b"second")


def test_of_many_writers_at_once_exactly_one_creates_the_object(store: ObjectStore) -> None:
    """Eight threads create one name: one succeeds, and its bytes are the ones that are read."""
    created: list[int] = []

    def write(number: int) -> None:
        if store.create("race", str(number).encode()):
            created.append(number)

    writers = [threading.Thread(target=write, args=(number,)) for number in range(8)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert [str(number).encode() for number in created] == [store.read("race")]


def test_names_are_listed_by_prefix_in_order(store: ObjectStore) -> None:
    """Listing gives the names below a prefix in the order of their bytes, and as many as are wanted."""
    assert store.names() == [] and store.names("model=a/") == []
    for name in ("model=a/2", "model=a/1", "model=b/1", "model=a-b/1", "top"):
        store.create(name, b"x" * 3)
    assert store.names("model=a/") == ["model=a/1", "model=a/2"]
    assert store.names("model=a") == ["model=a-b/1", "model=a/1", "model=a/2"]
    assert store.names("model=a/", limit=1) == ["model=a/1"]
    (listed,) = store.listed("to")
    assert (listed.name, listed.size) == ("top", 3)
    assert abs(listed.written - datetime.now(UTC)) < timedelta(minutes=1)


def test_what_is_missing_is_said_with_its_address(store: ObjectStore) -> None:
    """Reading a missing object names it; testing for it and removing it are no errors."""
    assert not store.exists("gone")
    store.delete("gone")
    with pytest.raises(MissingObjectError, match="gone does not exist"):
        store.read("gone")
    store.replace("gone", b"one")
    store.replace("gone", b"two")
    assert store.exists("gone") and store.read("gone") == b"two"
    store.delete("gone")
    assert not store.exists("gone")


def test_tables_are_stored_whole_in_parquet(store: ObjectStore) -> None:
    """A table comes back as it was stored, and its schema can be read alone."""
    table = pa.table({"symbol": ["A", "B"], "close": [1.0, 2.0]})
    assert create_table(store, "bars/1.parquet", table, compression="zstd")
    assert not create_table(store, "bars/1.parquet", table.slice(1))
    opened = open_table(store, "bars/1.parquet")
    assert opened.schema_arrow.names == ["symbol", "close"]
    assert opened.read().equals(table)


def test_a_listing_in_a_bucket_goes_beyond_one_page(bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """More names than a page holds are listed all."""
    monkeypatch.setattr("alphaloop.storage.s3_store.PAGE_NAMES", 2)
    store = open_store(f"{bucket}/deep")
    for number in range(5):
        store.create(f"{number}", b"")
    assert store.names() == ["0", "1", "2", "3", "4"]
    assert store.names(limit=3) == ["0", "1", "2"]


def test_a_conflict_of_two_writes_is_tried_again(bucket: str) -> None:
    """A server that answers 409 is asked again, until it says whether the name is free."""
    client, conflicts = s3_client(), iter([True] * 3)
    put = client.put_object

    def conflicting(**options: object) -> object:
        if next(conflicts, False):
            answer = {
                "Error": {"Code": "ConditionalRequestConflict"},
                "ResponseMetadata": {"HTTPStatusCode": 409},
            }
            raise ClientError(answer, "PutObject")  # type: ignore[arg-type]
        return put(**options)

    client.put_object = conflicting
    assert MAX_CONFLICTS > 3
    assert S3Store(bucket, client).create("one", b"1")
    assert next(conflicts, None) is None
    assert not S3Store(bucket, client).create("one", b"2")


def test_a_missing_bucket_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every use of a bucket that does not exist says so in one line."""
    from moto.server import ThreadedMotoServer

    # SeaweedFS creates a bucket that is written to; moto answers as AWS does.
    server = ThreadedMotoServer("127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    for name, value in {"ENDPOINT_URL_S3": f"http://{host}:{port}", "REGION": "us-east-1"}.items():
        monkeypatch.setenv(f"AWS_{name}", value)
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "any")
    store = open_store("s3://never-made/data")
    for use in (store.names, lambda: store.create("a", b""), lambda: store.read("a")):
        with pytest.raises(InputError, match="there is no bucket 'never-made' at http://127") as raised:
            use()
        assert "\n" not in str(raised.value)
    server.stop()


def test_refused_and_missing_credentials_are_named(bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A wrong secret, half a pair and no credentials at all each name the variables to set."""
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "another")
    with pytest.raises(InputError, match=r"refuses the credentials \(SignatureDoesNotMatch\); correct"):
        open_store(bucket).create("a", b"")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    with pytest.raises(InputError, match="AWS_SECRET_ACCESS_KEY' is missing"):
        open_store(bucket).create("a", b"")
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CONFIG_FILE", "/nowhere")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nowhere")
    with pytest.raises(InputError, match=r"no credentials for bucket .*; set AWS_ACCESS_KEY_ID"):
        open_store(bucket).create("a", b"")


@pytest.fixture
def bucket_elsewhere(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A server that answers as AWS does for a bucket of another region."""

    class Answers(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = b"<Error><Code>PermanentRedirect</Code><Message>other endpoint</Message></Error>"
            self.send_response(301)
            self.send_header("x-amz-bucket-region", "eu-central-1")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Answers)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", f"http://127.0.0.1:{server.server_port}")
    monkeypatch.setenv("AWS_REGION", "us-east-1")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    yield
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.usefixtures("bucket_elsewhere")
def test_a_bucket_of_another_region_is_named_with_its_region() -> None:
    """The line names the bucket, its region, ours, and the variable to set."""
    wanted = "bucket 'desk' is not in region 'us-east-1' but in eu-central-1; set AWS_REGION to eu-central-1"
    with pytest.raises(InputError, match=wanted):
        open_store("s3://desk/data").names()


def test_a_server_that_is_away_is_an_error_within_bounded_time(
    bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody at the endpoint: one line that names object and endpoint, and no wait beyond the attempts."""
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:9")
    before = datetime.now(UTC)
    with pytest.raises(VendorError, match=r"/a cannot be written: http://127\.0\.0\.1:9 fails") as raised:
        open_store(bucket).create("a", b"")
    assert "\n" not in str(raised.value)
    attempts = client_module.ATTEMPTS * client_module.CONNECT_SECONDS
    assert (datetime.now(UTC) - before).total_seconds() < attempts + 5


def test_a_wrong_scheme_is_refused_wherever_a_store_is_named(tmp_path: Path) -> None:
    """A location that is neither a folder nor `s3://bucket` is refused, and so is a home in a bucket."""
    with pytest.raises(SettingsError, match="'gs' is no scheme"):
        open_store("gs://desk/data")
    with pytest.raises(InputError, match="holds no credentials"):
        open_store("s3://user:secret@desk/data")
    sections = {"storage": "location", "data": "location", "features": "location", "drift": "location"}
    for section, name in {**sections, "serving": "log_location"}.items():
        with pytest.raises(SettingsError, match=rf"{section}.{name}.*'gs' is no scheme of a store"):
            load_settings(**{section: {name: "gs://desk/data"}})
        with pytest.raises(SettingsError, match="names no bucket; write s3://bucket/prefix"):
            load_settings(**{section: {name: "s3://"}})
    with pytest.raises(SettingsError, match=r"`home` is a folder of this machine; set storage.location"):
        load_settings(home="s3://desk/home")


def test_each_store_has_its_own_location_or_a_part_of_the_common_one(tmp_path: Path) -> None:
    """Empty: under home as ever; the common location for all; a store's own location before that."""
    home = tmp_path / "home"
    paths = Settings(home=home).paths
    assert Settings(home=home).locations.snapshots == str(paths.snapshots) == str(home / "data")
    assert Settings(home=home).locations.offline_features == str(home / "feast" / "offline")
    common = Settings(home=home, storage={"location": "s3://desk/a/"}, drift={"location": str(tmp_path)})
    assert common.locations.snapshots == "s3://desk/a/data"
    assert common.locations.prediction_log == "s3://desk/a/predictions"
    assert common.locations.offline_features == "s3://desk/a/feast/offline"
    assert common.locations.drift == str(tmp_path)
    folder = Settings(home=home, storage={"location": str(tmp_path / "shared")})
    assert folder.locations.snapshots == str(tmp_path / "shared" / "data")
    with pytest.raises(SettingsError, match="two names of one setting"):
        _ = Settings(features={"location": "s3://a/b", "offline": "s3://a/c"}).locations
