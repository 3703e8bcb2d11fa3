"""Daemons: the long-running parts of the loop, each a process of its own or all in one.

Here live the parts of a bar's turn (the streamer, the executor, the control of a model, the runner of
pipelines) and the frame that a process puts around one of them: role, standby, pages, end. A daemon's `turn`
does what is due and returns; the frame calls it again and again.

In come bars, from a source (the streamer alone) or from the store that the streamer wrote. Out go records of
the journal, and the mark of each bar that a part is done with.
"""
