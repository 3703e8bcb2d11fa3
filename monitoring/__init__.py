"""Monitoring: drift of features, alarms, and requests for retraining.

Findings and requests are journaled. Nothing here changes a rollout or starts a pipeline.

The prediction log and bars come in; alarms, alerts and retrain requests go out.
"""
