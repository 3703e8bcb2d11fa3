"""A universe: the symbols that are looked at together. Training, streamer and server name it by its hash."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable


def hash_universe(symbols: Iterable[str]) -> str:
    """SHA-256 over the set of `symbols`, in whatever order they come; empty for none.

    A symbol that has no bar any more is of the universe still: whoever is in it decides what a rank means.
    """
    members = sorted(set(symbols))
    return hashlib.sha256(json.dumps(members).encode()).hexdigest() if members else ""
