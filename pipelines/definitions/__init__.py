"""Definitions of the pipelines: one function a file, which builds the pipeline with the steps' options."""
