"""The C{websockify} command: the command line, the log lines and the habits of the program of that name.

::

    words ─► options ─► translation ─► Config, and how twistd runs it ─► what C{twistd websockify} runs

What is told here is that program's behaviour. How the two differ, and why, is in docs/from-websockify.rst.
"""
