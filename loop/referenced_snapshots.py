"""Snapshots that the workspace still references, which must not be removed."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

from alphaloop.clock import SystemClock
from alphaloop.journal.opening import has_journal, open_journal
from alphaloop.journal.record import canonical_json

if TYPE_CHECKING:
    from alphaloop.settings.settings import Settings

SNAPSHOT_ID = re.compile(r"\b[0-9a-f]{64}\b")


def referenced_snapshot_ids(settings: Settings) -> set[str]:
    """Collect the snapshot ids in model cards and journal records.

    Other SHA-256 hashes are among them; they name no snapshot and protect none. Raises `DamagedStoreError`
    where registry or journal cannot be read, because nothing may then be removed.
    """
    return {identity for text in _texts(settings) for identity in SNAPSHOT_ID.findall(text)}


def _texts(settings: Settings) -> Iterator[str]:
    from models.registry.configured_registry import configured_registry, has_registry

    if has_registry(settings):
        registry = configured_registry(settings)
        for model in registry.models():
            for version in registry.versions(model):
                yield registry.card(model, version).snapshot
    if has_journal(settings):
        with open_journal(settings, SystemClock()) as journal:
            for stream in journal.streams():
                for record in journal.records(stream):
                    yield canonical_json(record.body)
