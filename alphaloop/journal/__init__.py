"""The journal: an append-only, hash-chained record of every decision and action.

Here live the record (`record`) and the chain of hashes (`chain`), the database (`store`, `tables`,
`migrations`), who may write (`roles`, `writer`, `append`, `lease`), the anchors outside of the database
(`anchors`, `bucket`), verification (`verification`, `read_only`), and what keeps a journal well (`upkeep`).

Trading, rollouts, monitoring and pipelines write records; audit, evidence and reports read them, and nothing
changes them.
"""
