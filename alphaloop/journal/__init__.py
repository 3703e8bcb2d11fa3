"""The journal: an append-only, hash-chained record of everything the loop decided and did.

Here live the record and its hash (`record`), the database (`store`, `tables`, `migrations`), the one
writer of a stream (`writer`) with its fenced lease (`lease`), the anchors kept outside the database
(`anchors`) and verification (`verification`).

Records come in from trading and control; they go out to audit, evidence and reports, never changed.
"""
