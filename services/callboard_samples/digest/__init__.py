"""A digest of a folder: an agent for each file summarises it, another puts the summaries together.

In one process::

    python -m callboard_samples.digest --folder docs

On as many workers as you like, each in a terminal of its own::

    callboard host
    callboard worker callboard_samples.digest:setup
    callboard worker callboard_samples.digest:setup
    python -m callboard_samples.digest --folder docs --host 127.0.0.1:50051
"""

from callboard_samples.digest.agents import setup

__all__ = ["setup"]
