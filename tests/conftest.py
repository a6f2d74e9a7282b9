"""What every test shares."""

from __future__ import annotations

from hypothesis import settings

# The same examples on every run, and no verdict by how fast the machine is at the moment.
settings.register_profile("callboard", derandomize=True, deadline=None)
settings.load_profile("callboard")
