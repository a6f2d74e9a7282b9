"""What Callboard does, seen by a program that uses it.

The same tests in one process and in many.
"""
