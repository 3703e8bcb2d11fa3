"""A Kubeflow Pipelines server: runs that are submitted and followed, and recurring runs."""
