"""Hash of a universe: the identity of a set of symbols that are ranked together.

Training, feature streams and the server name a universe by this hash.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable


def hash_universe(symbols: Iterable[str]) -> str:
    """Hash the set of `symbols` with SHA-256, in whatever order they come.

    Without symbols the result is an empty text. A symbol that has no bars any more still belongs to the
    universe, because every member changes the ranks.
    """
    members = sorted(set(symbols))
    return hashlib.sha256(json.dumps(members).encode()).hexdigest() if members else ""
