"""The console: the face of the platform.

Here live the commands behind `alphaloop`, the demo's story and its report. Nobody imports this room,
and no rule of the loop lives here: a command is a few lines that call a room and show the answer.
"""
