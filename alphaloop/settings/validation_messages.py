"""Messages for settings that are refused: name, value and requirement in plain words."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Iterable, Mapping
from datetime import date
from typing import Any

LIST_EXAMPLE = '["first", "second"]'
MAX_NEAREST, MIN_LIKENESS, MAX_LIKENESS_GAP = 4, 0.6, 0.25
# pydantic's messages name Python's types, which a settings file does not have.
_WORDS = {
    "tuple_type": f"it must be a list, as {LIST_EXAMPLE}",
    "dict_type": 'it must be a table, as {{name = "value"}}',
    "model_type": "it must be a table of settings: write them one by one",
    "string_type": "it must be text between quotes",
    "string_too_short": "it must not be empty",
    "path_type": "it must be a path between quotes",
    "finite_number": "it must be a finite number",
    "literal_error": "it must be one of {expected}",
    "greater_than": "it must be more than {gt:g}",
    "greater_than_equal": "it must be {ge:g} or more",
    "less_than": "it must be less than {lt:g}",
    "less_than_equal": "it must be {le:g} or less",
}
_KINDS = {
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "date": "a day, as 2020-03-16",
}
_PASSWORD_IN_URL = re.compile(r"(://[^/@\s]*:)[^/\s]*@")
# pydantic's prefix of the message of a validator of ours.
_OWN_WORDS = "Value error, "


def refusal_message(error: Mapping[str, Any]) -> str:
    """Describe one of pydantic's errors in one line."""
    names = [str(part) for part in error["loc"] if isinstance(part, str)]
    return f"setting '{'.'.join(names)}' is {format_value(error['input'])}: {_words(error)}"


def unparsed_message(variable: str, text: str, *, table: bool) -> str:
    """Describe a variable whose text is not the list or table that its setting needs."""
    form = 'a table in JSON, as {"name": "value"}' if table else "a list between commas, or in JSON"
    return f"variable {variable} is {format_value(text)}; write {form}"


def unknown_setting_message(name: str, known: Iterable[str], where: str = "") -> str:
    """Describe a setting that does not exist, with the most similar names."""
    location, names = f" ({where})" if where else "", list(known)
    similar = nearest_names(name, names)
    sections = sorted({one.partition(".")[0] for one in names})
    way_out = f"nearest: {', '.join(similar)}" if similar else f"the sections are {', '.join(sections)}"
    return f"there is no setting '{name}'{location}; {way_out}"


def nearest_names(name: str, known: Iterable[str]) -> list[str]:
    """Return the `known` dotted names most similar to `name`, best first.

    There are none if all differ much.
    """
    section, _, last = name.rpartition(".")

    def likeness(one: str) -> float:
        own_section, _, own = one.rpartition(".")
        ends = difflib.SequenceMatcher(None, last, own).ratio()
        whole = difflib.SequenceMatcher(None, name, one).ratio()
        within = 0.25 if len(last) > 2 and (last in own or own in last) else 0.0
        return max(ends, whole) + within + (0.25 if section and section == own_section else 0.0)

    scores = {one: likeness(one) for one in known}
    bound = max(MIN_LIKENESS, max(scores.values(), default=0.0) - MAX_LIKENESS_GAP)
    near = [one for one, score in scores.items() if score >= bound]
    return sorted(near, key=lambda one: (-scores[one], one))[:MAX_NEAREST]


def format_value(value: Any) -> str:
    """Format a value as in a settings file, without the password of a URL."""
    if isinstance(value, str):
        return repr(_PASSWORD_IN_URL.sub(r"\1***@", value))
    if value is None:
        return "nothing"
    if isinstance(value, date):
        return value.isoformat()
    return json.dumps(value, default=str)


def _words(error: Mapping[str, Any]) -> str:
    kind, context = error["type"], error.get("ctx") or {}
    if kind in _WORDS:
        expected = str(context.get("expected", "")).replace("'", "").replace(" or ", ", ")
        return _WORDS[kind].format(**{**context, "expected": expected})
    for start, requirement in _KINDS.items():
        if kind.startswith(start):
            return f"it must be {requirement}"
    own = str(error["msg"]).removeprefix(_OWN_WORDS)
    return own if own != error["msg"] else "it is nothing that this setting can be"
