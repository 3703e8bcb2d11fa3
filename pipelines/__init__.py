"""Pipelines: Kubeflow components and pipelines, and the runner of retrain requests.

A component is three lines that call a room; logic never lives in a component.

Retrain requests come in from the journal, each with a unique cause id, and are run once; pipeline
runs and model versions go out.
"""
