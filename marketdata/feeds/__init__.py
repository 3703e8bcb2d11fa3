"""Feeds: several providers of the same bars behind one interface, and bars as slices.

Here live the consensus between providers, the failover from one to another (with the circuit breakers of
`alphaloop.runtime`), the assembler of bars into slices, and the replay of a stored period as a live source.
No vendor is known here: a provider is any implementation of `marketdata.source`.

Bars of providers come in, each with its provider's name; slices go out (`marketdata.feeds.assembler`),
each bar with its provider, and marked as disputed if the providers disagreed and no rule could decide.
"""
