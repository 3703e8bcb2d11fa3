"""Closing of bars for evidence: awaits a bar's rows, scores those that are lost, and journals what counts.

In come the prediction log and the journal's closings; out go closed bars, each with the digest of its rows.
"""
