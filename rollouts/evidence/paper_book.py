"""A paper book: what a version would have earned with all of the capital, net of cost.

Champion and challenger each get one, fed with the scores that the server logged, so the two are
compared on the same bars under the allocation, limits and costs that real orders use. It is the book by
which the gate judges.
"""

from __future__ import annotations

from alphaloop.decision.modelled_book import BookStep, ModelledBook

__all__ = ["BookStep", "PaperBook"]

PaperBook = ModelledBook
