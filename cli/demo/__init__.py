"""The demo: the whole loop on real market data, with nothing mocked.

Here live the scripted scenario (`scenario`) and its stages, the scheduler of rollouts, the progress on
screen and the report's data (`report`). The loop itself lives in `loop`; here it is only set up and shown.
"""
