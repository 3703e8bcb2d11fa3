"""An object store of the tests' own: SeaweedFS in a temporary folder, on free ports of loopback."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import uuid
from pathlib import Path

from botocore.exceptions import BotoCoreError, ClientError

from alphaloop.runtime.processes import free_port
from alphaloop.storage.s3_client import s3_client

KEY, SECRET = "test-key", "test-secret"
SECONDS_TO_START = 30.0
RIGHTS = ["Admin", "Read", "List", "Tagging", "Write"]


def weed_program() -> Path | None:
    """The program of SeaweedFS: beside Python, or on the path; None where there is none."""
    beside = Path(sys.executable).parent / "weed"
    if beside.exists():
        return beside
    on_path = shutil.which("weed")
    return Path(on_path) if on_path else None


class ObjectStoreServer:
    """A running server; `bucket` makes an empty one, `environment` leads clients to it."""

    def __init__(self, program: Path) -> None:
        self._program, self.port = program, free_port()
        self.folder = Path(tempfile.mkdtemp(prefix="alphaloop-weed-"))
        self._process: subprocess.Popen[bytes] | None = None
        self._ports = {name: free_port() for name in ("master", "volume", "filer")}
        self._ports |= {f"{name}.port.grpc": free_port() for name in ("master", "volume", "filer", "s3")}
        credentials = [{"accessKey": KEY, "secretKey": SECRET}]
        identity = {"name": "tests", "credentials": credentials, "actions": RIGHTS}
        (self.folder / "s3.json").write_text(json.dumps({"identities": [identity]}))
        self.start()

    @property
    def endpoint(self) -> str:
        """URL of the S3 protocol."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def environment(self) -> dict[str, str]:
        """The standard variables, by which clients find it."""
        return {
            "AWS_ENDPOINT_URL_S3": self.endpoint,
            "AWS_REGION": "us-east-1",
            "AWS_ACCESS_KEY_ID": KEY,
            "AWS_SECRET_ACCESS_KEY": SECRET,
        }

    def start(self) -> None:
        """Start it, and wait until it answers."""
        (self.folder / "data").mkdir(exist_ok=True)
        ports = [f"-{name if '.' in name else name + '.port'}={port}" for name, port in self._ports.items()]
        words = [
            "server", f"-dir={self.folder / 'data'}", "-ip=127.0.0.1", "-ip.bind=127.0.0.1", "-s3",
            f"-s3.port={self.port}", f"-s3.config={self.folder / 's3.json'}", "-s3.port.iceberg=0",
            "-s3.port.lance=0",
            "-master.volumeSizeLimitMB=64", "-volume.max=100", *ports,
        ]  # fmt: skip
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen([self._program, *words], stdout=log, stderr=log, cwd=self.folder)
        deadline = time.monotonic() + SECONDS_TO_START
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise AssertionError((self.folder / "log").read_text()[-2_000:])
            time.sleep(0.1)

    def _answers(self) -> bool:
        before = dict(os.environ)
        os.environ.update(self.environment)
        try:
            s3_client().create_bucket(Bucket="answers")
        except ClientError as error:
            return "BucketAlready" in str(error)
        except BotoCoreError:
            return False
        finally:
            os.environ.clear()
            os.environ.update(before)
        return True

    def stop(self) -> None:
        """Stop it at once: its clients find nobody there."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def bucket(self) -> str:
        """Create an empty bucket; returns its URL. The environment must lead to this server."""
        name = f"test-{uuid.uuid4().hex[:12]}"
        s3_client().create_bucket(Bucket=name)
        return f"s3://{name}"

    def close(self) -> None:
        """Stop it and remove its folder."""
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)
