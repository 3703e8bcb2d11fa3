"""The `alphaloop` command: finds the verb, and turns what went wrong into a line and an exit code.

0  done                      1  a check found something wrong
2  the caller's to mend      3  a vendor or a server failed; with PYTHONDEVMODE=1 its traceback is shown
130  interrupted, and everything that was started has been stopped
"""

from __future__ import annotations

import errno
import os
import signal
import sys
import warnings
from types import FrameType
from typing import TYPE_CHECKING, Any, NoReturn

if TYPE_CHECKING:
    import typer

FOUND_WRONG, BAD_INPUT, UNAVAILABLE, INTERRUPTED, TERMINATED = 1, 2, 3, 130, 143
# What the machine says of a place that the caller named: not writable, read-only, full.
PLACE_ERRORS = frozenset({errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOSPC, errno.EDQUOT})
VERBS = (
    "demo", "doctor", "config", "data", "features", "train", "models", "serve", "export", "predict",
    "backtest", "trade", "book", "monitor", "rollout", "pipeline", "audit",
)  # fmt: skip


def main() -> NoReturn:
    """Run the command line of this process and exit."""
    code = run(sys.argv[1:])
    if code in {INTERRUPTED, TERMINATED}:
        # Threads and exit hooks of vendors would wait for servers that have been stopped.
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    sys.exit(code)


def run(arguments: list[str]) -> int:
    """Run one command; returns its exit code. An error that is none of ours keeps its traceback."""
    from alphaloop.errors import AlphaloopError
    from alphaloop.runtime import package_roots
    from cli.output import complain

    previous = signal.signal(signal.SIGTERM, _terminate)
    try:
        package_roots.check()
        _quieten()
        code = _invoke(arguments)
    except KeyboardInterrupt:
        complain("interrupted; everything that was started has been stopped")
        code = INTERRUPTED
    except AlphaloopError as error:
        if error.exit_code == UNAVAILABLE and sys.flags.dev_mode:
            raise
        complain(f"alphaloop: {error}")
        code = error.exit_code
    except OSError as error:
        if error.errno not in PLACE_ERRORS:
            raise
        place = f"{error.filename}: " if error.filename else ""
        complain(f"alphaloop: {place}{error.strerror}; make room or set ALPHALOOP_HOME to a folder of yours")
        code = BAD_INPUT
    finally:
        _stop_what_was_started()
        signal.signal(signal.SIGTERM, previous)
    return code


def make_app() -> typer.Typer:
    """The command with its verbs, in the order in which the loop runs."""
    import importlib

    import typer
    from typer.core import TyperGroup

    class InOrder(TyperGroup):
        """Lists the verbs as the loop runs; Typer would put groups last."""

        def list_commands(self, ctx: typer.Context) -> list[str]:  # type: ignore[override]
            return list(VERBS)

    app = typer.Typer(
        name="alphaloop",
        cls=InOrder,
        help="The closed loop of a trading model, from market data to orders and back into retraining.",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    for verb in VERBS:
        importlib.import_module(f"cli.commands.{verb}").register(app)
    return app


def _invoke(arguments: list[str]) -> int:
    import typer.main

    command = typer.main.get_command(make_app())
    # Not by `command.main`, which would frame a wrong option in several lines and turn Ctrl-C into an exit.
    try:
        with command.make_context("alphaloop", arguments) as context:
            command.invoke(context)
    except typer.Exit as end:
        return end.exit_code
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    except typer.exceptions.TyperException as error:
        return _misused(error)
    except BrokenPipeError:
        # Who read the output has seen enough; the interpreter must not complain of it on its way out.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FOUND_WRONG
    return 0


def _misused(error: Any) -> int:
    """Say in one line which word of the command line is wrong; without words, show the help."""
    from cli.output import complain

    told = " ".join(error.format_message().split()).rstrip(".")
    if told:
        place = error.ctx.command_path if getattr(error, "ctx", None) else "alphaloop"
        complain(f"alphaloop: {told}{'' if told.endswith('?') else ';'} see: {place} --help")
    else:
        # The help has been shown already, for want of any word.
        error.show()
    return BAD_INPUT


def _quieten() -> None:
    """Vendors' telemetry and warnings are off unless the caller has set them otherwise."""
    from alphaloop.runtime.processes import QUIET

    if "PYTHONWARNINGS" not in os.environ and not sys.warnoptions:
        warnings.simplefilter("ignore")
    # Ray Tune would take Ctrl-C for itself, save its state and go on.
    for name, value in {**QUIET, "TUNE_DISABLE_SIGINT_HANDLER": "1"}.items():
        os.environ.setdefault(name, value)


def _terminate(number: int, frame: FrameType | None) -> None:
    raise SystemExit(TERMINATED)


def _stop_what_was_started() -> None:
    """End every child that is left; a second Ctrl-C must not leave half of them."""
    from alphaloop.runtime.processes import stop_descendants

    previous = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        stop_descendants()
    finally:
        signal.signal(signal.SIGINT, previous)


if __name__ == "__main__":
    main()
