"""The journal's streams by name: who writes each, and where earlier releases wrote the same."""

from __future__ import annotations

TRADING_STREAM = "trading"
"""Decisions, orders and fills of the book; written by its executor alone."""
CONTROL_STREAM = "control"
"""Transitions of rollouts, written under a control role; earlier releases wrote findings and requests too."""
MONITORING_STREAM = "monitoring"
"""Findings: drift alarms and features that cannot be watched."""
REQUEST_STREAM = "requests"
"""Requests of persons and policies: what a role is asked to do."""
PIPELINE_STREAM = "pipelines"
"""Starts and ends of pipeline runs, and their conclusions."""

CANDIDATE_PROPOSED, CANDIDATE_REFUSED = "candidate.proposed", "candidate.refused"
"""Kinds of the conclusions of a retraining, on the stream of pipelines: the gate let it pass, or not."""

FINDING_STREAMS = (CONTROL_STREAM, MONITORING_STREAM)
"""Streams that hold findings, the older one first."""
REQUEST_STREAMS = (CONTROL_STREAM, REQUEST_STREAM)
"""Streams that hold requests, the older one first."""
