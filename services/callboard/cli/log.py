"""Where logging is set up, for Callboard's own lines and everybody else's."""

from __future__ import annotations

import logging
import os
import sys
from typing import TYPE_CHECKING, Literal

import structlog
from pydantic_settings import BaseSettings, SettingsConfigDict

from callboard.cli.settings import read_settings

if TYPE_CHECKING:
    from structlog.typing import Processor


class LogSettings(BaseSettings):
    """How to log; each is read from ``CALLBOARD_`` and its name in capitals.

    Attributes:
        log_level: The least that is logged.
        log_format: "console" for people, "json" for one object a line.
    """

    model_config = SettingsConfigDict(env_prefix="CALLBOARD_", extra="ignore", frozen=True)

    log_level: Literal["debug", "info", "warning", "error"] = "info"
    log_format: Literal["console", "json"] = "console"


def set_up(*, log_level: str | None = None, log_format: str | None = None) -> None:
    """Log to the standard error as the environment says, and over it the arguments."""
    settings = read_settings(LogSettings, log_level=log_level, log_format=log_format)
    level = logging.getLevelName(settings.log_level.upper())
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.add_log_level,
        structlog.stdlib.ExtraAdder(),
    ]
    if settings.log_format == "json":
        shared.append(structlog.processors.TimeStamper(fmt="iso", utc=True))
        # Tracebacks as text: structlog's dictionaries hold local variables, and so messages.
        last: list[Processor] = [
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(),
        ]
    else:
        shared.append(structlog.processors.TimeStamper(fmt="%H:%M:%S", utc=False))
        last = [
            structlog.dev.ConsoleRenderer(
                colors=sys.stderr.isatty() or "FORCE_COLOR" in os.environ,
                exception_formatter=structlog.dev.plain_traceback,  # rich's shows local variables
                pad_event=0,
            )
        ]
    formatter = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=shared,
        processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *last],
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(formatter)
    logging.basicConfig(handlers=[handler], level=level, force=True)
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )
