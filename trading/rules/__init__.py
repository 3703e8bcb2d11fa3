"""Rules of earlier decisions, each under its number, for the replay of old journals.

The current rule is `trading.decision`. The body of a decision names the rule that made it; a body without a
number was made by rule 1. `trading.redecide` finds the rule of a body. A rule here is frozen: it reads the
stored body itself and calls none of our code that computes, so that no later change of allocation, limits or
formats alters an old decision. When `trading.decision` changes what follows from the same inputs, its
previous rule moves here and `trading.decision.CURRENT_RULE` is raised.
"""
