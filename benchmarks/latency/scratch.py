"""A temporary folder in which a benchmark of serving runs."""

from __future__ import annotations

import argparse
import os
import shutil
import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from alphaloop.runtime.processes import SINGLE_THREAD_ENVIRONMENT

Run = Callable[[argparse.Namespace, Path, ExitStack], None]


def run_in_scratch(run: Run, arguments: argparse.Namespace) -> None:
    """Call `run` with a temporary folder, which is removed once all that `run` started has ended."""
    os.environ.update(SINGLE_THREAD_ENVIRONMENT)
    home = Path(tempfile.mkdtemp(prefix="alphaloop-bench-"))
    try:
        with ExitStack() as stack:
            run(arguments, home, stack)
    finally:
        shutil.rmtree(home, ignore_errors=True)
