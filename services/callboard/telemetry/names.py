"""The names that spans and attributes have, all of them.

From OpenTelemetry's semantic conventions: exceptions 1.44 (``docs/exceptions/exceptions-spans.md``,
stable), messaging 1.44 (``docs/messaging/messaging-spans.md``), CloudEvents 1.44
(``docs/cloudevents/cloudevents-spans.md``), and GenAI (repository ``semantic-conventions-genai``,
commit 002c8a6e). The last three are in development and change; those that begin with ``callboard.``
are our own.

Spans are named after an operation and a topic or agent type, never after a key or source: there may
be millions of those.
"""

from __future__ import annotations

SYSTEM = "messaging.system"
OPERATION_NAME = "messaging.operation.name"
OPERATION_TYPE = "messaging.operation.type"
DESTINATION = "messaging.destination.name"
PARTITION = "messaging.destination.partition.id"
CONSUMER_GROUP = "messaging.consumer.group.name"
MESSAGE_ID = "messaging.message.id"
CLIENT_ID = "messaging.client.id"

SERVER_ADDRESS = "server.address"
SERVER_PORT = "server.port"
ERROR_TYPE = "error.type"

EXCEPTION = "exception"
EXCEPTION_TYPE = "exception.type"
EXCEPTION_MESSAGE = "exception.message"
EXCEPTION_STACKTRACE = "exception.stacktrace"

EVENT_ID = "cloudevents.event_id"
EVENT_SOURCE = "cloudevents.event_source"
EVENT_SPEC_VERSION = "cloudevents.event_spec_version"
EVENT_TYPE = "cloudevents.event_type"

AGENT_ID = "gen_ai.agent.id"
AGENT_NAME = "gen_ai.agent.name"

ATTEMPT = "callboard.delivery.attempt"
"""How many times the event was handed out, this time included; from 1."""

FAILED_TURNS = "callboard.delivery.failed_turns"
"""How many turns of the event had failed before this one; absent for none."""

FAN_OUT = "callboard.route.fan_out"
"""For how many agents an event is; 0 when nobody is subscribed."""

ENGINE = "callboard.engine"
"""Where the host keeps events."""

CALLBOARD = "callboard"
"""The `SYSTEM` of all of our spans, and the name of the tracer that makes them."""

PUBLISH, CALL, ROUTE, PROCESS = "publish", "call", "route", "process"
"""The operations; a span's name begins with one."""

SEND = "send"
"""The `OPERATION_TYPE` of `PUBLISH` and `CALL`; `PROCESS` is its own, `ROUTE` has none."""
