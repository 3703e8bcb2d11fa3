"""Feeds: several providers of the same bars behind one interface, and bars as slices.

Here live the circuit breaker, the consensus between providers, the failover from one to another, the
assembler of bars into slices, and the replay of a stored period as a live source. No vendor is known here:
a provider is any implementation of `marketdata.source`.

Bars of providers come in, each with its provider's name; slices go out (`marketdata.feeds.assembler`),
each bar with its provider, and marked as disputed where the providers disagreed without a majority.
"""
