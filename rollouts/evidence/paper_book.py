"""Paper book: the net performance of one version if it traded all of the capital.

Champion and challenger each have a paper book, fed with the scores that the server logged, so the two are
compared on the same bars under the strategy, limits and costs of real orders. The gate judges by the same
book.
"""

from __future__ import annotations

from alphaloop.decision.modelled_book import BookStep, ModelledBook

__all__ = ["BookStep", "PaperBook"]

PaperBook = ModelledBook
