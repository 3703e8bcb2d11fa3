"""The journal: an append-only, hash-chained record of every decision and action.

Here live the record and its hash (`record`), the database (`store`, `tables`, `migrations`), the one writer
of a stream (`writer`) with its fenced lease (`lease`), the anchors outside of the database (`anchors`) and
verification (`verification`, `reading`).

Trading, rollouts, monitoring and pipelines write records; audit, evidence and reports read them, and nothing
changes them.
"""
