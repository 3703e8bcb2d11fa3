"""What `serving_latency.py` measures and how: the champion, the servers, and the load on them.

Only that benchmark imports it; what runs as a process of its own is in `peers/`.
"""
