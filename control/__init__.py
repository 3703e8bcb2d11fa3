"""Control: what watches the loop and decides.

Here live the labels as they mature, drift, the evidence for and against a model version, the
rollout controller, the policies, and audit and replay.

Control starts no pipeline and sends no order: it reads the journal and the prediction log, and
writes retrain requests and rollout transitions back to the journal.
"""
