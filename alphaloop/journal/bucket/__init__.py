"""Anchors of the journal in a bucket: their objects, and the thread that writes them."""
