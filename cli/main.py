"""The `alphaloop` command: runs a verb, and turns errors into one line and an exit code.

0  done                      1  a check found something wrong
2  wrong input or state      3  a vendor or a server failed; with PYTHONDEVMODE=1 its traceback is shown
130  interrupted, after all started processes were stopped
"""

from __future__ import annotations

import errno
import os
import signal
import sys
import warnings
from collections.abc import Sequence
from types import FrameType
from typing import TYPE_CHECKING, Any, NoReturn

if TYPE_CHECKING:
    import typer

FOUND_WRONG, BAD_INPUT, UNAVAILABLE, INTERRUPTED, TERMINATED = 1, 2, 3, 130, 143
# Errors of a path that the user chose: not writable, read-only, full.
PLACE_ERRORS = frozenset({errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOSPC, errno.EDQUOT})
VERBS = (
    "demo", "doctor", "init", "config", "data", "features", "train", "models", "serve", "export", "predict",
    "predictions", "backtest", "trade", "book", "monitor", "rollout", "control", "pipeline", "journal",
    "audit", "completion",
)  # fmt: skip


def main() -> NoReturn:
    """Run the command line of this process and exit."""
    code = run_command(sys.argv[1:])
    if code in {INTERRUPTED, TERMINATED}:
        # Vendors' threads and exit hooks would wait for servers that are already stopped.
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    sys.exit(code)


def run_command(arguments: list[str]) -> int:
    """Run one command and return its exit code.

    Errors of other libraries keep their tracebacks.
    """
    from alphaloop.errors import AlphaloopError
    from alphaloop.runtime import package_roots
    from cli.output import print_error

    previous = signal.signal(signal.SIGTERM, _terminate)
    try:
        package_roots.require_one_root()
        _quieten()
        code = _invoke(arguments)
    except KeyboardInterrupt:
        print_error("interrupted; everything that was started has been stopped")
        code = INTERRUPTED
    except AlphaloopError as error:
        if error.exit_code == UNAVAILABLE and sys.flags.dev_mode:
            raise
        print_error(f"alphaloop: {error}")
        code = error.exit_code
    except OSError as error:
        if error.errno not in PLACE_ERRORS:
            raise
        place = f"{error.filename}: " if error.filename else ""
        print_error(
            f"alphaloop: {place}{error.strerror}; make room or set ALPHALOOP_HOME to a folder of yours"
        )
        code = BAD_INPUT
    finally:
        _stop_what_was_started()
        signal.signal(signal.SIGTERM, previous)
    return code


def make_app(verbs: Sequence[str] = VERBS) -> typer.Typer:
    """Build the command with its verbs, by default all, in the order in which the loop runs."""
    import importlib

    import typer
    from typer.core import TyperGroup

    class InOrder(TyperGroup):
        """Group that lists the verbs in the loop's order.

        Typer would put groups last.
        """

        def list_commands(self, ctx: typer.Context) -> list[str]:  # type: ignore[override]
            return list(verbs)

    app = typer.Typer(
        name="alphaloop",
        cls=InOrder,
        help="The closed loop of a trading model, from market data to orders and back into retraining.",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    importlib.import_module("cli.global_options").register(app)
    for verb in verbs:
        importlib.import_module(f"cli.commands.{verb}").register(app)
    return app


def _invoke(arguments: list[str]) -> int:
    import typer.main

    from cli.log_output import open_logs
    from cli.shell_completion import is_completing, print_completions

    command = typer.main.get_command(make_app(_verbs_of(arguments)))
    if is_completing():
        return print_completions(command)
    # `command.main` would report a wrong option in a frame of several lines and turn Ctrl-C into an exit.
    try:
        with command.make_context("alphaloop", list(arguments)) as context:
            verbose, file = context.params["verbose"], context.params["log_file"]
            with open_logs(arguments, verbose, file):
                command.invoke(context)
    except typer.Exit as end:
        return end.exit_code
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    except typer.exceptions.TyperException as error:
        return _misused(error)
    except BrokenPipeError:
        # The reader of the pipe has closed it; without this, the interpreter would complain at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FOUND_WRONG
    return 0


def _verbs_of(arguments: list[str]) -> Sequence[str]:
    """Return the verbs that a command line can mean: importing the others would take a tenth of its start.

    Without a verb in front, these are all: to list them, or to suggest one.
    """
    if not arguments or arguments[0] not in VERBS:
        return VERBS
    return arguments[:1]


def _misused(error: Any) -> int:
    """Report a wrong command line in one line.

    Without a message, show the help.
    """
    from cli.output import print_error

    message = " ".join(error.format_message().split()).rstrip(".")
    if message:
        place = error.ctx.command_path if getattr(error, "ctx", None) else "alphaloop"
        print_error(f"alphaloop: {message}{'' if message.endswith('?') else ';'} see: {place} --help")
    else:
        # A command line without a verb: the help is shown instead of a message.
        error.show()
    return BAD_INPUT


def _quieten() -> None:
    """Turn vendors' telemetry and warnings off, unless the caller has set them."""
    from alphaloop.runtime.processes import QUIET_ENVIRONMENT

    if "PYTHONWARNINGS" not in os.environ and not sys.warnoptions:
        warnings.simplefilter("ignore")
    # Ray Tune would handle Ctrl-C itself: save its state and go on.
    for name, value in {**QUIET_ENVIRONMENT, "TUNE_DISABLE_SIGINT_HANDLER": "1"}.items():
        os.environ.setdefault(name, value)


def _terminate(number: int, frame: FrameType | None) -> None:
    raise SystemExit(TERMINATED)


def _stop_what_was_started() -> None:
    """Stop all remaining child processes.

    A second Ctrl-C must not leave half of them running.
    """
    from alphaloop.runtime.processes import stop_descendants

    previous = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        stop_descendants()
    finally:
        signal.signal(signal.SIGINT, previous)


if __name__ == "__main__":
    main()
