"""`callboard dead-letters`."""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import typer

from callboard.cli.operators import Operators, ask_operators
from callboard.cli.tables import console, printable, show_json, table
from callboard.cli.usage import UsageError
from callboard.core.envelope import JSON_DATA_CONTENT_TYPE
from callboard.core.errors import InvalidMessage, NotFound, error_of
from callboard.wire.codec import CloudEventCodec
from callboard.wire.v1 import operations_pb2 as pb

_SHOWN_POSITIONS = 10
"""How many positions an error names."""


def run_list(
    *,
    agent_type: str,
    reason: str,
    oldest_first: bool,
    limit: int,
    cursor: int,
    as_json: bool,
    operators: str | None,
    **given: object,
) -> None:
    """Show a page of them."""
    request = pb.DeadLettersRequest(
        agent_type=agent_type, reason=reason, oldest_first=oldest_first, limit=limit, cursor=cursor
    )

    async def ask(operators: Operators) -> pb.DeadLettersResponse:
        return await operators.ask("DeadLetters", request, pb.DeadLettersResponse)

    page = ask_operators(ask, operators=operators, **given)
    if as_json:
        show_json(page)
        return
    out = console()
    out.print(
        table(
            "dead letters",
            ("position", "agent", "topic", "reason", "attempts", "age", "bytes", "event id"),
            (
                (
                    each.position,
                    f"{each.agent_type}/{each.agent_key}",
                    f"{each.topic_type}/{each.topic_source}",
                    each.reason,
                    each.attempts,
                    _age(each),
                    each.size_bytes,
                    each.event_id,
                )
                for each in page.dead_letters
            ),
        )
    )
    if page.next_cursor:
        out.print(f"there are more: --cursor {page.next_cursor}")


def run_show(position: int, *, as_json: bool, operators: str | None, **given: object) -> None:
    """Show one of them, and its event."""

    async def ask(operators: Operators) -> pb.DeadLetterResponse:
        request = pb.DeadLetterRequest(position=position)
        return await operators.ask("DeadLetter", request, pb.DeadLetterResponse)

    answer = ask_operators(ask, operators=operators, **given)
    if as_json:
        show_json(answer)
        return
    letter = answer.dead_letter
    console().print(
        table(
            f"dead letter {letter.position}",
            ("", ""),
            (
                ("agent", f"{letter.agent_type}/{letter.agent_key}"),
                ("topic", f"{letter.topic_type}/{letter.topic_source}"),
                ("reason", letter.reason),
                ("detail", letter.detail),
                ("attempts", letter.attempts),
                ("age", _age(letter)),
                ("bytes", letter.size_bytes),
            ),
        )
    )
    typer.echo(json.dumps(_event(answer.event), indent=2))


def run_replay(
    positions: Sequence[int],
    *,
    agent_type: str | None,
    reason: str | None,
    every: bool,
    as_json: bool,
    operators: str | None,
    **given: object,
) -> None:
    """Publish them anew.

    Raises:
        CallboardError: Some were refused, or are not there; what was replayed is said all the same.
    """
    request = pb.ReplayDeadLettersRequest(
        selection=_selection(positions, agent_type, reason, every=every)
    )

    async def ask(operators: Operators) -> pb.ReplayDeadLettersResponse:
        return await operators.ask(
            "ReplayDeadLetters", request, pb.ReplayDeadLettersResponse, may_take_long=True
        )

    answer = ask_operators(ask, operators=operators, **given)
    if as_json:
        show_json(answer)
    else:
        typer.echo(f"replayed {_count(answer.replayed)}")
    if answer.refused:
        first = answer.refusals[0]
        msg = (
            f"{_count(answer.refused)} refused, the first {first.position} for "
            f"{printable(first.agent_type)}/{printable(first.agent_key)}: {first.reason}"
        )
        raise error_of(first.code, msg)
    _check_missing(answer.missing)


def run_drop(
    positions: Sequence[int],
    *,
    agent_type: str | None,
    reason: str | None,
    every: bool,
    as_json: bool,
    operators: str | None,
    **given: object,
) -> None:
    """Forget them. Raises `NotFound` when some are not there; what was dropped is said as well."""
    request = pb.DropDeadLettersRequest(
        selection=_selection(positions, agent_type, reason, every=every)
    )

    async def ask(operators: Operators) -> pb.DropDeadLettersResponse:
        return await operators.ask(
            "DropDeadLetters", request, pb.DropDeadLettersResponse, may_take_long=True
        )

    answer = ask_operators(ask, operators=operators, **given)
    if as_json:
        show_json(answer)
    else:
        typer.echo(f"dropped {_count(answer.dropped)}")
    _check_missing(answer.missing)


def _selection(
    positions: Sequence[int], agent_type: str | None, reason: str | None, *, every: bool
) -> pb.DeadLetterSelection:
    """What the command line means. Raises `UsageError` when it says nothing, or too much."""
    if "" in (agent_type, reason):
        # Of a variable that is not set, it may be: that must not mean all of them.
        msg = "--type and --reason name something, they are not empty"
        raise UsageError(msg)
    if sum((bool(positions), bool(agent_type or reason), every)) != 1:
        msg = "say which: POSITION, or --type or --reason or both, or --all"
        raise UsageError(msg)
    return pb.DeadLetterSelection(
        positions=positions, agent_type=agent_type or "", reason=reason or "", all=every
    )


def _check_missing(missing: Sequence[int]) -> None:
    if missing:
        named = ", ".join(str(each) for each in missing[:_SHOWN_POSITIONS])
        more = len(missing) - _SHOWN_POSITIONS
        msg = f"there is no dead letter {named}{f' and {more} more' if more > 0 else ''}"
        raise NotFound(msg)


def _count(number: int) -> str:
    return f"{number} dead letter{'' if number == 1 else 's'}"


def _age(letter: pb.DeadLetterDescription) -> str:
    return str(timedelta(seconds=int(letter.age_s)))


def _event(content: bytes) -> dict[str, Any]:
    """An event as `callboard publish --file` reads it, or what there is in its place."""
    try:
        envelope = CloudEventCodec().decode_event(content)
    except InvalidMessage:
        return {"data_base64": base64.b64encode(content).decode()}
    topic_type, topic_source = envelope.topic or ("", "")
    event: dict[str, Any] = {
        "specversion": "1.0",
        "id": envelope.message_id,
        "type": topic_type,
        "source": topic_source,
        "dataschema": envelope.type_name,
        "datacontenttype": envelope.content_type,
    }
    if envelope.content_type == JSON_DATA_CONTENT_TYPE:
        try:
            return event | {"data": json.loads(envelope.data)}
        except (ValueError, RecursionError):
            pass
    return event | {"data_base64": base64.b64encode(envelope.data).decode()}
