"""A load that shows whether anything is lost: numbered events, each of which has to be answered.

In one process::

    python -m callboard_samples.tally --events 1000

On workers that come and go meanwhile::

    callboard host
    callboard worker callboard_samples.tally:setup
    callboard worker callboard_samples.tally:setup
    python -m callboard_samples.tally --events 5000 --rate 200 --host 127.0.0.1:50051

It ends with exit code 0 only if every event was published and answered.
"""

from callboard_samples.tally.agents import setup

__all__ = ["setup"]
