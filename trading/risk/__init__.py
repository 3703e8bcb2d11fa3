"""Risk: limits that no order may break.

The limits of a book are defined in `alphaloop.decision.book_limits`; here they are enforced on orders.
"""
