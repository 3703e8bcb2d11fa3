"""What the documents say is true: their blocks are run, their names are looked up."""

from __future__ import annotations

import re
import shlex
import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

from alphaloop.plugins import use_files
from alphaloop.runtime.package_roots import PACKAGES
from alphaloop.runtime.processes import child_environment, free_port
from cli import main

ROOT = Path(__file__).resolve().parents[2]
FENCE = re.compile(
    r"(?P<marks>(?:^ *<!-- run by \S+ -->\n)*)^(?P<indent> *)```(?P<language>\w*)\n(?P<text>.*?)^ *```$",
    re.MULTILINE | re.DOTALL,
)
NAMED = re.compile(r"# ([\w./-]+\.(?:py|toml|csv))\n")
# A line that somebody would paste into a shell.
COMMAND = re.compile(
    r"^\s*(?:\$ )?(?:[A-Z_]+=\S+ )*(?:alphaloop|make|pip|python|git|curl|feast|eval) \S", re.MULTILINE
)

PAGES = sorted(str(path.relative_to(ROOT)) for path in (*(ROOT / "docs").rglob("*.md"), ROOT / "README.md"))
# What was decided then is told in the names of then.
PRESENT = [name for name in PAGES if not name.startswith("docs/adr/")]

ECHO = "; echo $?"
# A column in the language of formulas, and a file that selection writes.
NO_SETTINGS = ("data.x", "features.toml")


@dataclass(frozen=True)
class Block:
    """A fenced block: its language, its text, and the tests that run it instead of the page's own."""

    language: str
    text: str
    tests: tuple[str, ...] = ()

    @property
    def file(self) -> str:
        """The path that the first line says the block is; nothing for a block that is run."""
        named = NAMED.match(self.text)
        return named[1] if named else ""

    @property
    def followed(self) -> bool:
        """True if a reader of the page does what the block says."""
        return not self.tests and self.language != "text"


def text_of(name: str) -> str:
    """A document."""
    return (ROOT / name).read_text(encoding="utf-8")


def blocks(name: str) -> list[Block]:
    """The fenced blocks of a document, in order."""
    return [
        Block(
            match["language"],
            textwrap.dedent(match["text"]),
            tuple(re.findall(r"run by (\S+)", match["marks"])),
        )
        for match in FENCE.finditer(text_of(name))
    ]


FOLLOWED = [name for name in PAGES if any(block.followed for block in blocks(name))]


def tables(name: str) -> Iterator[list[str]]:
    """The cells of each row of a document's tables."""
    for line in text_of(name).splitlines():
        if line.startswith("| "):
            yield [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty folder as a reader has it, which Python imports from, and a home in it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("ALPHALOOP_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("ALPHALOOP_SERVING__GRPC_PORT", str(free_port()))
    for name in ("HTTP_PORT", "METRICS_PORT"):
        monkeypatch.setenv(f"ALPHALOOP_SERVING__{name}", "0")
    monkeypatch.setattr(main, "_stop_what_was_started", lambda: None)
    before = set(sys.modules)
    yield tmp_path
    use_files(())
    for module in set(sys.modules) - before:
        if str(tmp_path) in str(getattr(sys.modules[module], "__file__", "")):
            del sys.modules[module]


@dataclass
class Reader:
    """Does what a document says, block by block, as one who follows it would."""

    monkeypatch: pytest.MonkeyPatch
    capsys: pytest.CaptureFixture[str]
    servers: ExitStack = field(default_factory=ExitStack)

    def follow(self, name: str) -> None:
        """Files are written, Python shares one session, commands succeed and say what is shown.

        What is started with `&` runs until the document ends.
        """
        with self.servers:
            self._follow(name)

    def _follow(self, name: str) -> None:
        session: dict[str, Any] = {"__name__": "__main__"}
        for number, block in enumerate(blocks(name), 1):
            if not block.followed:
                continue
            if block.file:
                self._write(block)
            elif block.language == "python":
                exec(compile(block.text, f"{name}, block {number}", "exec"), session)
            elif block.language == "sh":
                for line in block.text.splitlines():
                    self._run(line, 0)
            else:
                assert block.language == "console", f"{name}, block {number} is of no known kind"
                self._talk(block)

    @staticmethod
    def _write(block: Block) -> None:
        path = Path(block.file)
        path.parent.mkdir(parents=True, exist_ok=True)
        # CSV knows no comments.
        path.write_text(NAMED.sub("", block.text, 1) if block.language == "csv" else block.text)

    def _talk(self, block: Block) -> None:
        for exchange in re.split(r"^\$ ", block.text, flags=re.MULTILINE)[1:]:
            line, _, expected = exchange.partition("\n")
            wanted_lines = expected.splitlines()
            code = 2 if expected.startswith("alphaloop: ") else 0
            if line.endswith(ECHO):
                line, code = line.removesuffix(ECHO), int(wanted_lines.pop())
            said = self._run(line, code)
            shown = [" ".join(one.split()) for one in said.splitlines() if one.strip()]
            for wanted in wanted_lines:
                assert " ".join(wanted.split()) in shown, f"{line}\nsays {said}"

    def _run(self, line: str, code: int) -> str:
        words = shlex.split(line, comments=True)
        if not words:
            return ""
        if words[0] == "export":
            self.monkeypatch.setenv(*words[1].split("=", 1))
            return ""
        with self.monkeypatch.context() as patch:
            while "=" in words[0]:
                variable, _, value = words.pop(0).partition("=")
                patch.setenv(variable, value)
            assert words[0] == "alphaloop", line
            if words[-1] == "&":
                return self._start(words[1:-1])
            self.capsys.readouterr()
            found = main.run_command(words[1:])
            printed = self.capsys.readouterr()
        assert found == code, f"{line}\n{printed.err}"
        return printed.out + printed.err

    def _start(self, words: list[str]) -> str:
        server = self.servers.enter_context(
            subprocess.Popen(
                [sys.executable, "-m", "cli.main", *words],
                stdout=subprocess.PIPE,
                text=True,
                env=child_environment(),
            )
        )
        self.servers.callback(server.send_signal, signal.SIGINT)
        assert server.stdout is not None
        assert any("ready" in line for line in server.stdout)
        return ""


# They train, serve and trade for a while; `make test-long` follows them.
SLOW = {
    f"docs/{name}.md"
    for name in (
        "getting-started",
        "tutorials/audit",
        "tutorials/own-broker",
        "tutorials/own-strategy",
        "tutorials/rollout",
    )
}


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.long] if name in SLOW else []) for name in FOLLOWED]
)
def test_every_block_does_what_it_shows(
    name: str, desk: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """One who follows the document from the top gets through it, and sees the lines that it shows."""
    Reader(monkeypatch, capsys).follow(name)


@pytest.mark.parametrize("name", PAGES)
def test_every_block_is_run_here_or_names_the_test_that_runs_it(name: str) -> None:
    """A block is followed, or has a comment with its test; what is only to be looked at holds no command."""
    for block in blocks(name):
        for test in block.tests:
            path, _, function = test.partition("::")
            assert (ROOT / path).is_file(), test
            assert f"def {function}(" in (ROOT / path).read_text(encoding="utf-8"), test
        if not block.tests and block.language == "text":
            assert not COMMAND.search(block.text), f"{name}: no test is named for\n{block.text}"
    unfenced = [line for line in FENCE.sub("", text_of(name)).splitlines() if line.startswith("    ")]
    assert [line for line in unfenced if COMMAND.match(line)] == []


@cache
def whole_command() -> Any:
    """The command with all verbs."""
    return get_command(main.make_app())


@pytest.mark.parametrize("name", PRESENT)
def test_every_command_that_needs_more_exists(name: str) -> None:
    """Verbs and options of the blocks that need a vendor or a server are those of the command."""
    lines = [line for one in blocks(name) if one.language in {"text", "sh"} for line in one.text.splitlines()]
    lines = [re.sub(r"^(?:[A-Z_]+=\S+ )+", "", line) for line in lines]
    inline = re.findall(r"`(alphaloop [^`]+)`", text_of(name))
    for line in [*(line for line in lines if line.startswith("alphaloop ")), *inline]:
        words = [word for word in shlex.split(line, comments=True)[1:] if word != "…"]
        words = words[:-1] if words and words[-1] == "&" else words
        while words and words[0] in ("-v", "--log-file"):
            words = words[2 if words[0] == "--log-file" else 1 :]
        if not words or words[0] == "--version":
            continue
        command: Any = whole_command()
        while hasattr(command, "commands"):
            if command.invoke_without_command and (not words or words[0].startswith("-")):
                break
            assert words, line
            assert words[0] in command.commands, line
            command = command.commands[words.pop(0)]
        known = {option for parameter in command.params for option in parameter.opts}
        assert {word for word in words if word.startswith("-")} <= known, line


def anchors(path: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub and the site make them."""
    heads = re.findall(r"^#+ (.+)$", FENCE.sub("", path.read_text(encoding="utf-8")), re.MULTILINE)
    bare = [re.sub(r"[^\w\s-]", "", head.lower()).strip() for head in heads]
    return {re.sub(r"\s", "-", head) for head in bare}


@pytest.mark.parametrize("name", PAGES)
def test_every_link_leads_somewhere(name: str) -> None:
    """Links stay in the repository or name another by https; their anchors are headings of the page."""
    for target in re.findall(r"\]\(([^)\s]+)\)", FENCE.sub("", text_of(name))):
        if target.startswith("https://"):
            continue
        path, _, anchor = target.partition("#")
        page = (ROOT / name).parent / path if path else ROOT / name
        assert page.exists(), target
        assert not anchor or anchor in anchors(page), target


@pytest.mark.parametrize("name", PRESENT)
def test_every_place_that_it_names_is_there(name: str) -> None:
    """Files and modules of the repository exist; so do the settings."""
    from alphaloop.settings.settings import known_settings

    text = text_of(name)
    for path in re.findall(rf"`((?:docs|{'|'.join(PACKAGES)})/[\w./]+)`", text):
        assert (ROOT / path).exists() or path.endswith("/NAME.py"), path
    for setting in re.findall(r"`((?:data|features)\.[a-z_]+)`", text):
        module = ROOT / (setting.replace(".", "/") + ".py")
        assert setting in known_settings() or module.exists() or setting in NO_SETTINGS, setting
    for dotted in re.findall(rf"`((?:{'|'.join(PACKAGES)})\.[a-z_.]+\.[A-Za-z_]+)`", text):
        _look_up(dotted)


def _look_up(dotted: str) -> None:
    import importlib

    module, _, attribute = dotted.rpartition(".")
    assert hasattr(importlib.import_module(module), attribute) or importlib.import_module(dotted), dotted


def test_the_groups_of_the_catalogue_hold_what_is_named() -> None:
    """Each row of the table of groups names indicators of that group."""
    from features import catalogue

    groups = {catalogue.find_indicator(name).group for name in catalogue.indicator_names()}
    rows = [row for row in tables("docs/features.md") if row[0] in groups]
    assert len(rows) >= 10
    for group, some in rows:
        for name in re.findall(r"`([a-z_0-9]+)`", some):
            assert catalogue.find_indicator(name).group == group, name


def test_all_of_ta_lib_is_there_by_name() -> None:
    """201 functions, each under its own name in lower case."""
    import talib

    from features import catalogue

    functions = {name.lower() for name in talib.get_functions()}
    assert len(functions) == 201
    assert functions <= set(catalogue.indicator_names())


def test_the_grammar_names_every_word_of_the_language() -> None:
    """Functions and words of formulas all stand in the document, and its limits are those of the code."""
    from features.formula import parser, tokens
    from features.formula.functions import ARGUMENT_NAMES
    from features.formula.syntax import MAX_DEPTH

    text = text_of("docs/features.md")
    for word in (*ARGUMENT_NAMES, *parser.WORDS, *(sign for sign in parser.RANKS if sign.isalpha())):
        assert re.search(rf"`[^`]*\b{word}\b", text), word
    assert (parser.MAX_EXPONENT, tokens.MAX_FORMULA_LENGTH, MAX_DEPTH) == (64, 4_000, 64)


def test_the_table_of_sources_is_the_registry() -> None:
    """Every source and family stands in it and no other, with the frequencies and live bars that it has."""
    from marketdata.source import is_live
    from marketdata.sources import registry

    rows = {
        row[0].strip("`"): row
        for row in tables("docs/data.md")
        if "…`" in row[0] or row[0].strip("`") in registry.source_names()
    }
    assert set(rows) == {*registry.source_names(), *(f"{prefix}:…" for prefix in registry.source_families())}
    for name in registry.source_names():
        assert (rows[name][3] == "yes") == is_live(registry.find_source(name)), name


def test_the_variables_of_sources_are_those_that_are_read() -> None:
    """Each variable of the table stands in the code that reads it, and each that it reads in the table."""
    code = "".join(path.read_text() for room in PACKAGES for path in (ROOT / room).rglob("*.py"))
    told = set(re.findall(r"`((?:APCA|AWS|IBKR)_[A-Z0-9_]+)`", text_of("docs/data.md")))
    assert {name for name in told if f'"{name}"' not in code} == set()
    assert set(re.findall(r'"((?:APCA|IBKR)_[A-Z_]+)"', code)) <= told


def test_the_table_of_rules_is_that_of_the_code() -> None:
    """Every quality rule in its order, with the policies that it can have."""
    from marketdata.quality.checks import RULES
    from marketdata.quality.cleaning import QUARANTINABLE_RULES, REPAIR_DESCRIPTIONS

    rows = [row for row in tables("docs/data.md") if len(row) == 5 and row[0].strip("`") in RULES]
    assert tuple(row[0].strip("`") for row in rows) == RULES
    for row in rows:
        assert (row[3] == "yes", row[4] == "yes") == (
            row[0].strip("`") in QUARANTINABLE_RULES,
            row[0].strip("`") in REPAIR_DESCRIPTIONS,
        )
