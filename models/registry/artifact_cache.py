"""Files of model versions by their digest, and what is known of the versions, in a folder of this machine.

Both are what a process goes on with while the registry's server is away. The folder may be removed at any
time.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict
from pathlib import Path
from urllib.parse import quote

from alphaloop.runtime.atomic_file import replace_file
from alphaloop.runtime.stored_values import parse_stored
from models.registry.registry_store import StoredVersion


class ArtifactCache:
    """A cache in `folder`, shared by several processes; made by the first file that is kept."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def file(self, digest: str) -> bytes | None:
        """Return the file with this SHA-256, or None; one that was changed on disk counts as missing."""
        try:
            content = self._file(digest).read_bytes()
        except OSError:
            return None
        return content if hashlib.sha256(content).hexdigest() == digest else None

    def keep_file(self, content: bytes) -> None:
        """Keep a file under its digest. Raises `InputError` where the disk takes none."""
        path = self._file(hashlib.sha256(content).hexdigest())
        replace_file(path, lambda partial: partial.write_bytes(content))

    def version(self, model: str, number: str) -> StoredVersion | None:
        """Return what was last known of a version, or None."""
        try:
            return parse_stored(StoredVersion, self._version(model, number).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None

    def keep_version(self, version: StoredVersion) -> None:
        """Keep what is known of a version. Raises `InputError` where the disk takes nothing."""
        if self.version(version.model, version.number) == version:
            return
        text = json.dumps({**asdict(version), "tags": dict(version.tags)}, sort_keys=True)
        path = self._version(version.model, version.number)
        replace_file(path, lambda partial: partial.write_text(text, encoding="utf-8"))

    def _file(self, digest: str) -> Path:
        return self.folder / "files" / quote(digest, safe="")

    def _version(self, model: str, number: str) -> Path:
        return self.folder / "versions" / quote(model, safe="") / f"{quote(number, safe='')}.json"
