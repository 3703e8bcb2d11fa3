"""Rules of earlier decisions, each under its number, kept so that old journals can be replayed.

The rule in force is `trading.decision`; the body of a decision names the rule that made it, and one
without a number was made by rule 1. `trading.redecide` finds the rule of a body. A rule here is frozen: it
reads the stored body itself and calls no code of ours that computes, so that no later change of
allocation, limits or formats alters what an old decision comes to. When `trading.decision` changes what
follows from the same inputs, its rule of before moves here and `trading.decision.RULE` is raised.
"""
