"""Many items of a frame by columns: what they have in common once, the rest side by side.

To read or write a field of a message costs a tenth of a microsecond, an entry of a column a tenth
of that. Measured with 256 items, of a host's time for each: settlements read in 0.3 instead of 1.3
microseconds, deliveries written in 0.6 instead of 1.5.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice, repeat
from typing import TypeVar

from callboard.core.errors import ProtocolViolation
from callboard.core.event import Address, Delivery, Event, Grant, TraceContext
from callboard.core.frames import Outcome, Publish, Settlement
from callboard.wire.items import (
    MAX_COUNT,
    get_outcome,
    hop_of,
    milliseconds,
    put_grant,
    put_outcome,
)
from callboard.wire.v1 import agent_host_pb2 as pb

RUN_FROM = 8
"""Fewer items than these are no dearer one by one: measured, 5."""

MAX_RUN_ITEMS = 65_536
"""A frame with more items in its runs is a violation: a byte of it would be a hundred of memory."""

T = TypeVar("T", Publish, Settlement)
F = TypeVar("F")


def put_publish_runs(message: pb.ConnectRequest, publishes: Sequence[Publish]) -> None:
    """Write publishes."""
    for part in _without_holes(publishes):
        events = [each.event for each in part]
        run = message.publish_runs.add(first_number=part[0].number)
        run.events.extend([event.content for event in events])
        forms: dict[tuple[str, str, Address | None], int] = {}
        form_of = []
        for event in events:
            form = event.topic_type, event.topic_source, event.sender
            index = forms.get(form)
            if index is None:
                index = forms[form] = len(forms)
                item = run.forms.add(topic_type=form[0], topic_source=form[1])
                if event.sender is not None:
                    item.sender.type, item.sender.key = event.sender
            form_of.append(index)
        if len(forms) > 1:
            run.form_of.extend(form_of)
        if any(each.remaining_s for each in part):
            run.remaining_ms.extend([milliseconds(each.remaining_s) for each in part])
        _put_hops(run, events)


def get_publish_runs(runs: Iterable[pb.PublishRun]) -> list[Publish]:
    """Read publishes. Raises `ProtocolViolation` when columns do not fit each other."""
    publishes: list[Publish] = []
    room = MAX_RUN_ITEMS
    for run in runs:
        contents = run.events[:]
        count = len(contents)
        room -= count
        _check(room >= 0, f"more than {MAX_RUN_ITEMS} publishes in the runs of a frame")
        forms = [
            (
                form.topic_type,
                form.topic_source,
                (form.sender.type, form.sender.key) if form.HasField("sender") else None,
            )
            for form in run.forms
        ]
        numbers = _numbers(run.first_number, count, "publish")
        waits = _column(run.remaining_ms, count) or repeat(0)
        hops = _hops(run.hops, count)
        for number, content, form, wait, hop in zip(
            numbers, contents, _by_form(forms, run.form_of, count), waits, hops, strict=False
        ):
            topic_type, topic_source, sender = form
            event = Event(content, topic_type, topic_source, sender, hop)
            publishes.append(Publish(number, event, wait / 1000))
    return publishes


def put_settlement_runs(message: pb.ConnectRequest, settlements: Sequence[Settlement]) -> None:
    """Write settlements."""
    for part in _without_holes(settlements):
        run = message.settlement_runs.add(first_number=part[0].number)
        run.positions.extend([each.position for each in part])
        forms: dict[tuple[Grant, int, type[Outcome], Outcome], int] = {}
        form_of = []
        for each in part:
            form = each.grant, each.attempt, type(each.outcome), each.outcome
            index = forms.get(form)
            if index is None:
                index = forms[form] = len(forms)
                item = run.forms.add()
                item.delivery.attempt = each.attempt
                put_grant(item, each.grant)
                put_outcome(item, each.outcome)
            form_of.append(index)
        if len(forms) > 1:
            run.form_of.extend(form_of)


def get_settlement_runs(runs: Iterable[pb.SettlementRun]) -> list[Settlement]:
    """Read settlements.

    Raises `ProtocolViolation` when columns do not fit each other, or a form says no outcome.
    """
    settlements: list[Settlement] = []
    room = MAX_RUN_ITEMS
    for run in runs:
        positions = run.positions[:]
        count = len(positions)
        room -= count
        _check(room >= 0, f"more than {MAX_RUN_ITEMS} settlements in the runs of a frame")
        numbers = _numbers(run.first_number, count, "settlement")
        forms = [
            (
                form.delivery.attempt,
                Grant(form.grant.epoch, form.grant.serial),
                get_outcome(form, run.first_number),
            )
            for form in run.forms
        ]
        settlements += [
            Settlement(number, position, *form)
            for number, position, form in zip(
                numbers, positions, _by_form(forms, run.form_of, count), strict=False
            )
        ]
    return settlements


def put_delivery_run(
    message: pb.ConnectResponse, deliveries: Sequence[tuple[Event, list[Delivery]]]
) -> None:
    """Write deliveries."""
    run = message.delivery_runs.add()
    events = [event for event, _ in deliveries]
    run.events.extend([event.content for event in events])
    counts = [len(targets) for _, targets in deliveries]
    forms: dict[tuple[Address, Grant | None, int, int, int], int] = {}
    form_of = []
    positions = []
    for _, targets in deliveries:
        for target in targets:
            positions.append(target.position)
            form = target.agent, target.grant, target.attempt, target.failed_turns, target.losses
            index = forms.get(form)
            if index is None:
                index = forms[form] = len(forms)
                item = run.forms.add(
                    attempt=target.attempt,
                    failed_turns=min(target.failed_turns, MAX_COUNT),
                    losses=target.losses,
                )
                item.agent.type, item.agent.key = target.agent
                put_grant(item, target.grant)
            form_of.append(index)
    run.positions.extend(positions)
    if len(forms) > 1:
        run.form_of.extend(form_of)
    if len(positions) > len(events):
        run.target_counts.extend(counts)
    _put_hops(run, events)


def get_delivery_runs(runs: Iterable[pb.DeliveryRun]) -> list[tuple[Event, list[Delivery]]]:
    """Read deliveries. Raises `ProtocolViolation` when columns do not fit each other."""
    deliveries: list[tuple[Event, list[Delivery]]] = []
    for run in runs:
        contents, positions = run.events[:], run.positions[:]
        counts = _column(run.target_counts, len(contents)) or [1] * len(contents)
        _check(sum(counts) == len(positions), "a run of deliveries has not the targets it counts")
        forms = [
            (
                (form.agent.type, form.agent.key),
                form.attempt,
                Grant(form.grant.epoch, form.grant.serial),
                form.failed_turns,
                form.losses,
            )
            for form in run.forms
        ]
        targets = zip(positions, _by_form(forms, run.form_of, len(positions)), strict=False)
        hops = _hops(run.hops, len(contents))
        for content, count, hop in zip(contents, counts, hops, strict=False):
            event = Event(content, "", "", None, hop)
            deliveries.append(
                (
                    event,
                    [
                        Delivery(position, agent, event, attempt, grant, 0.0, failed, losses)
                        for position, (agent, attempt, grant, failed, losses) in islice(
                            targets, count
                        )
                    ],
                )
            )
    return deliveries


# Inside.


def _without_holes(items: Sequence[T]) -> Iterator[Sequence[T]]:
    """``items``, in parts in which each number is the one after that before it."""
    first = 0
    if items[-1].number - items[0].number != len(items) - 1:
        for index in range(1, len(items)):
            if items[index].number != items[index - 1].number + 1:
                yield items[first:index]
                first = index
    yield items[first:]


def _numbers(first: int, count: int, what: str) -> range:
    _check(first > 0, f"a {what} without a number: they count from 1")
    _check(first + count <= 1 << 64, f"{what} numbers beyond 64 bits")
    return range(first, first + count)


def _by_form(forms: Sequence[F], form_of: Sequence[int], count: int) -> Iterable[F]:
    """The form of each of ``count`` items."""
    indexes = _column(form_of, count)
    if not count:
        return ()
    if not indexes:
        _check(len(forms) > 0, "a run without forms")
        return repeat(forms[0], count)
    _check(max(indexes) < len(forms), f"a run of {len(forms)} forms names another")
    return [forms[index] for index in indexes]


def _column(entries: Sequence[int], count: int) -> Sequence[int]:
    """A column of numbers, possibly absent."""
    values = entries[:]
    _check(not values or len(values) == count, f"a column of {len(values)} for {count} items")
    return values


def _put_hops(run: pb.PublishRun | pb.DeliveryRun, events: Iterable[Event]) -> None:
    if any(event.hop is not None for event in events):
        for event in events:
            hop = event.hop or TraceContext("")
            run.hops.add(traceparent=hop.traceparent, tracestate=hop.tracestate)


def _hops(hops: Sequence[pb.TraceContext], count: int) -> Iterable[TraceContext | None]:
    if not hops:
        return repeat(None, count)
    _check(len(hops) == count, f"{len(hops)} trace contexts for {count} events")
    return [hop_of(each) if each.traceparent or each.tracestate else None for each in hops]


def _check(fits: bool, otherwise: str) -> None:  # noqa: FBT001 (it reads as an assertion)
    if not fits:
        raise ProtocolViolation(otherwise)
