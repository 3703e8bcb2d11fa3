"""What talking to venues needs, whoever they are: retries, credentials, closed bars, trades, books.

No vendor's library is imported here; each has its one file in `features.sources`.
"""
