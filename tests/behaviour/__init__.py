"""What Callboard does, seen by a program that uses it: the same tests in one process and in many."""
