from .catalogue import compile_to as compile_to
from .catalogue import find as find
from .catalogue import names as names
from .local_runner import run as run
from .request_runner import RequestRunner as RequestRunner

__all__ = [
    "RequestRunner",
    "compile_to",
    "find",
    "names",
    "run",
]
