"""One-paragraph summary of a selection."""

from __future__ import annotations

from features.selection.selection import SelectionResult


def summary_text(selected: SelectionResult) -> str:
    """State whether the best candidate exceeds the best of as many candidates without skill."""
    chance = selected.chance
    found = (
        f"The best of {chance.tried} candidates, {chance.name}, has a mean information coefficient of "
        f"{chance.best:.3f} by size; with no skill at all the best of as many would reach about "
        f"{chance.expected:.3f}."
    )
    if chance.beyond:
        return f"{found} That is more than chance explains (p = {chance.p_value:.3f})."
    return f"{found} That is not above what chance gives (p = {chance.p_value:.2f}): do not believe it."
