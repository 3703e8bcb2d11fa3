"""Compact SVG for a page: what matplotlib drew, with the page's classes instead of fixed colours.

matplotlib writes a document of its own, with colours, fonts and ids. On a page the style sheet gives colours
and fonts, light or dark, and ids of several drawings would clash: so this part is ours.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from html import escape
from xml.etree import ElementTree

_NAMESPACES = {"svg": "http://www.w3.org/2000/svg"}
_HREF = "{http://www.w3.org/1999/xlink}href"
_UNTAGGED = {"text": "label", "use": "tick", "path": "grid"}
"""Classes of what matplotlib draws by itself: the parts of an axis."""

_BETWEEN_TIPS = "\N{SYMBOL FOR RECORD SEPARATOR}"
_DRAWN = re.compile(r"(?<![\w-])(?:fill-)?opacity: ([\d.]+)"), re.compile("text-anchor: (middle|end)")


def tag(css: str, *tips: str) -> str:
    """Return the id that gives a drawn object classes on the page, and its parts their tooltips."""
    return f"{css}|{_BETWEEN_TIPS.join(tips)}"


def inline_svg(document: str, css: str, title: str) -> str:
    """Convert a document that matplotlib wrote into an element for a page.

    Parameters
    ----------
    document
        The SVG; the ids of its groups are those of `tag`, or matplotlib's own.
    css
        The class of the element.
    title
        What screen readers say.
    """
    root = ElementTree.fromstring(document)  # noqa: S314 - this process has just written it
    markers = {
        one.get("id", ""): one.get("d", "") for one in root.iterfind(".//svg:defs/svg:path", _NAMESPACES)
    }
    return (
        f'<svg class="{css}" viewBox="{root.get("viewBox")}" role="img" aria-label="{escape(title)}">'
        f"{''.join(_elements(root, None, iter(()), markers))}</svg>"
    )


def _elements(
    parent: ElementTree.Element, css: str | None, tips: Iterator[str], markers: Mapping[str, str]
) -> Iterator[str]:
    """Yield what is drawn in a group, with the classes and the tooltips of the nearest `tag`."""
    for one in parent:
        kind = one.tag.rpartition("}")[2]
        if kind == "g":
            own, tagged, listed = one.get("id", "").partition("|")
            inner = (own, iter(listed.split(_BETWEEN_TIPS))) if tagged else (css, tips)
            yield from _elements(one, *inner, markers)
        elif kind in _UNTAGGED:
            tip = escape(next(tips, ""))
            yield _element(
                kind,
                one,
                _UNTAGGED[kind] if css is None else css,
                f"<title>{tip}</title>" if tip else "",
                markers,
            )


def _element(kind: str, one: ElementTree.Element, css: str, tip: str, markers: Mapping[str, str]) -> str:
    opacity, anchor = (pattern.search(one.get("style", "")) for pattern in _DRAWN)
    attributes = f'class="{css}"' + (f' opacity="{float(opacity[1]):.2f}"' if opacity else "")
    if kind == "path":
        return f'<path {attributes} d="{_rounded(one.get("d", ""))}">{tip}</path>'
    x, y = _rounded(one.get("x", "")), _rounded(one.get("y", ""))
    if kind == "use":
        shape = _rounded(markers[one.get(_HREF, "").removeprefix("#")])
        return f'<path {attributes} transform="translate({x} {y})" d="{shape}">{tip}</path>'
    if anchor:
        attributes += f' text-anchor="{anchor[1]}"'
    return f'<text {attributes} x="{x}" y="{y}">{escape(one.text or "")}</text>'


def _rounded(numbers: str) -> str:
    """Round coordinates to tenths of a pixel, and leave out blanks that nothing needs."""
    short = re.sub(r"-?\d+(\.\d+)?", lambda found: f"{round(float(found[0]), 1) + 0:g}", numbers)
    return re.sub(r"\s*([MLQCz])\s*", r"\1", short).strip()
