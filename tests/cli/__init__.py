"""The `callboard` command, run as people run it: processes, their output and their exit codes."""
