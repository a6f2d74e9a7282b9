"""Where Callboard's own log lines go."""

from __future__ import annotations

import logging
from typing import Any

import structlog


class Logger:
    """Logs by structlog where the program has set that up, otherwise by the standard library.

    So a program that has done neither gets warnings and errors, and nothing else, on its standard
    error: structlog alone would write everything to the standard output, where results belong, with
    tracebacks that show local variables, messages among them.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._plain = structlog.wrap_logger(
            logging.getLogger(name),
            wrapper_class=structlog.stdlib.BoundLogger,
            processors=[
                structlog.stdlib.filter_by_level,
                structlog.dev.ConsoleRenderer(
                    colors=False, exception_formatter=structlog.dev.plain_traceback
                ),
            ],
        )

    def debug(self, event: str, **about: Any) -> None:
        """What only somebody who looks for a defect wants to see."""
        self._logger.debug(event, **about)

    def info(self, event: str, **about: Any) -> None:
        """What happens in good order."""
        self._logger.info(event, **about)

    def warning(self, event: str, **about: Any) -> None:
        """What went wrong and was dealt with."""
        self._logger.warning(event, **about)

    def exception(self, event: str, **about: Any) -> None:
        """A fault, with the traceback of the exception that is being handled."""
        self._logger.exception(event, **about)  # noqa: LOG004 (its caller is in one)

    @property
    def _logger(self) -> Any:
        return structlog.get_logger(self._name) if structlog.is_configured() else self._plain
