"""The demo: the whole loop as one story, on real market data, with nothing mocked.

Here live the command (`command`), the story (`story`) and its chapters, the director,
the screen, and the report's data (`outcome`). The rules of the loop live in
the rooms; here they are wired together and shown.
"""
