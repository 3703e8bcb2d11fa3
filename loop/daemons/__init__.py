"""Daemons: the long-running parts of the loop, each a process of its own.

Here live the frame that all of them share (`frame`: role, standby, pages, end), the control of a model's
rollout and drift (`control`), and the runner of pipelines (`runner`). A daemon's `turn` does what is due and
returns; the frame calls it again and again.
"""
