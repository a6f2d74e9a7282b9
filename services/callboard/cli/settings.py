"""Reads settings, and says which one is wrong."""

from __future__ import annotations

from typing import TypeVar

from pydantic import ValidationError
from pydantic_settings import BaseSettings

from callboard.cli.usage import UsageError

S = TypeVar("S", bound=BaseSettings)


def read_settings(cls: type[S], **given: object) -> S:
    """Settings from the environment, and over it what the command line gives; None gives nothing.

    Raises:
        UsageError: One is wrong; the text names it as it was given, and the rule.
    """
    given = {name: value for name, value in given.items() if value is not None}
    try:
        return cls(**given)  # type: ignore[arg-type]  # pydantic checks them
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        reason = first["msg"].removeprefix("Value error, ")
        if not first["loc"]:
            raise UsageError(reason) from error
        name = str(first["loc"][0])
        if name in given:
            name = "--" + name.removesuffix("_s").replace("_", "-")
        else:
            name = f"CALLBOARD_{name.upper()}"
        msg = f"{name}: {reason}"
        raise UsageError(msg) from error
