"""Former name of `features.store.feast.folder`, imported by definitions.py of repositories on disk."""

from __future__ import annotations

from features.store.feast.folder import definitions_of

__all__ = ["definitions_of"]
