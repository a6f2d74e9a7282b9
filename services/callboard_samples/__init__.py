"""Samples: agents that a worker can run, and programs that use them."""
