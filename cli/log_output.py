"""Logs of a command: how much of them goes to standard error, and a file for all of them."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from alphaloop.errors import InputError
from alphaloop.runtime.package_roots import PACKAGES

FILE_FORMAT = "%(asctime)s %(levelname)s %(process)d %(name)s: %(message)s"
TERMINAL_FORMAT = "%(levelname)s %(name)s: %(message)s"
LEVELS = (logging.WARNING, logging.INFO, logging.DEBUG)
"""Level of our packages' logs by the number of `-v`; more of them give the last."""
log = logging.getLogger(__name__)


@contextmanager
def open_logs(arguments: Sequence[str], verbose: int = 0, file: Path | None = None) -> Iterator[None]:
    """Send the logs of our packages to standard error and to a file while a command runs.

    Logs of vendors' libraries stay at warnings, because some write credentials at lower levels.

    Parameters
    ----------
    arguments : sequence of str
        Arguments of the command, for the first line of the file.
    verbose : int
        0 for warnings, 1 for information and 2 for every detail, on standard error.
    file : Path, optional
        File to append to, with at least information.

    Raises
    ------
    InputError
        If the file cannot be written.
    """
    if not verbose and file is None:
        yield
        return
    level = LEVELS[min(verbose, len(LEVELS) - 1)]
    terminal = logging.StreamHandler()
    terminal.setLevel(level)
    terminal.setFormatter(logging.Formatter(TERMINAL_FORMAT))
    handlers: list[logging.Handler] = [terminal]
    kept = _file_handler(file) if file is not None else logging.NullHandler()
    if file is not None:
        handlers.append(kept)
        level = min(level, logging.INFO)
    loggers = {name: logging.getLogger(name) for name in PACKAGES}
    before = {name: logger.level for name, logger in loggers.items()}
    root = logging.getLogger()
    for handler in handlers:
        root.addHandler(handler)
    for logger in loggers.values():
        logger.setLevel(level)
    try:
        _note(kept, logging.INFO, f"alphaloop {' '.join(arguments)}")
        yield
        _note(kept, logging.INFO, "done")
    except BaseException as error:
        reason = str(error) or getattr(error, "exit_code", "")
        _note(kept, logging.ERROR, f"ended by {type(error).__name__}: {reason}")
        raise
    finally:
        for name, logger in loggers.items():
            logger.setLevel(before[name])
        for handler in handlers:
            root.removeHandler(handler)
            handler.close()


def _note(handler: logging.Handler, level: int, message: str) -> None:
    """Write what the terminal shows anyway to the file alone."""
    handler.handle(log.makeRecord(log.name, level, __file__, 0, message, (), None))


def _file_handler(file: Path) -> logging.FileHandler:
    try:
        handler = logging.FileHandler(file, encoding="utf-8")
    except OSError as error:
        raise InputError(
            f"--log-file {file} cannot be written: {error.strerror}; name a file in a folder of yours"
        ) from error
    handler.setFormatter(_UtcFormatter(FILE_FORMAT))
    return handler


class _UtcFormatter(logging.Formatter):
    """Formats times as `2024-01-02T15:04:05.678Z`."""

    def formatTime(self, record: logging.LogRecord, datefmt: str | None = None) -> str:
        moment = datetime.fromtimestamp(record.created, UTC)
        return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
