"""An anchor as an object: its name, its bytes and its digest."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import Self
from urllib.parse import quote

from alphaloop.journal.anchors import Anchor

NAME_LIMIT, NAME_DIGITS = 10**18, 18
START = "start"


@dataclass(frozen=True, slots=True)
class StoredAnchor:
    """An anchor as it is in the bucket, with the number and the digest of the one before it."""

    anchor: Anchor
    before: tuple[int, str] | None = None

    @property
    def name(self) -> str:
        """Name of the object."""
        seq = self.anchor.seq
        return anchor_folder(self.anchor.stream) + (f"{NAME_LIMIT - seq:0{NAME_DIGITS}d}" if seq else START)

    @property
    def content(self) -> bytes:
        """Bytes of the object."""
        before = None if self.before is None else {"digest": self.before[1], "seq": self.before[0]}
        one = self.anchor
        body = {"before": before, "head": one.hash, "seq": one.seq, "stream": one.stream, "token": one.token}
        return json.dumps(body, sort_keys=True).encode("ascii")

    @property
    def digest(self) -> str:
        """SHA-256 of the bytes, which the next anchor names."""
        return hashlib.sha256(self.content).hexdigest()

    @classmethod
    def parse(cls, name: str, content: bytes) -> Self:
        """Restore an anchor from its object; `ValueError` where name and bytes are not those of one."""
        try:
            fields = json.loads(content)
            anchor = Anchor(fields["stream"], fields["seq"], fields["head"], token=fields["token"])
            before = fields["before"] and (fields["before"]["seq"], fields["before"]["digest"])
            stored = cls(anchor, before)
            is_intact = stored.name == name and stored.content == content
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"it lacks a field: {error}") from error
        if not is_intact:
            raise ValueError("its name or form is not that of its record")
        return stored


def anchor_folder(stream: str) -> str:
    """Return the prefix of the names of a stream's anchors."""
    return quote(stream, safe="") + "/"
