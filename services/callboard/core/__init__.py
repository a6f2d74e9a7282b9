"""The rules of Callboard: values and state machines without I/O, clock, chance or logging."""
