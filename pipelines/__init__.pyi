from .catalogue import find_pipeline as find_pipeline
from .catalogue import pipeline_names as pipeline_names
from .catalogue import write_pipeline_yaml as write_pipeline_yaml
from .local_runner import run_pipeline as run_pipeline
from .request_runner import RequestRunner as RequestRunner

__all__ = [
    "RequestRunner",
    "find_pipeline",
    "pipeline_names",
    "run_pipeline",
    "write_pipeline_yaml",
]
