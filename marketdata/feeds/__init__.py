"""Feeds: several providers of the same bars behind one interface, and bars as the loop takes them.

Here live the circuit breaker, the consensus between providers, the failover from one to another, the
assembler of bars into slices, and the replay of a stored period as if it were live. No vendor is known
here: a provider is anything with the interface of `marketdata.source`.

Bars of providers come in, each with its name; slices go out (`marketdata.feeds.assembler`), each bar with
the provider that it came from, and disputed where nothing could decide between them.
"""
