from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Iterable as _Iterable, Mapping as _Mapping, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class DescribeRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class DescribeResponse(_message.Message):
    __slots__ = ("host_id", "version", "engine", "uptime_s", "types", "sessions", "counters", "address")
    HOST_ID_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    ENGINE_FIELD_NUMBER: _ClassVar[int]
    UPTIME_S_FIELD_NUMBER: _ClassVar[int]
    TYPES_FIELD_NUMBER: _ClassVar[int]
    SESSIONS_FIELD_NUMBER: _ClassVar[int]
    COUNTERS_FIELD_NUMBER: _ClassVar[int]
    ADDRESS_FIELD_NUMBER: _ClassVar[int]
    host_id: str
    version: str
    engine: str
    uptime_s: float
    types: _containers.RepeatedCompositeFieldContainer[TypeDescription]
    sessions: _containers.RepeatedCompositeFieldContainer[SessionDescription]
    counters: Counters
    address: str
    def __init__(self, host_id: _Optional[str] = ..., version: _Optional[str] = ..., engine: _Optional[str] = ..., uptime_s: _Optional[float] = ..., types: _Optional[_Iterable[_Union[TypeDescription, _Mapping]]] = ..., sessions: _Optional[_Iterable[_Union[SessionDescription, _Mapping]]] = ..., counters: _Optional[_Union[Counters, _Mapping]] = ..., address: _Optional[str] = ...) -> None: ...

class TypeDescription(_message.Message):
    __slots__ = ("name", "sessions", "subscriptions", "queued", "in_flight", "partitions_held", "oldest_age_s", "durable")
    NAME_FIELD_NUMBER: _ClassVar[int]
    SESSIONS_FIELD_NUMBER: _ClassVar[int]
    SUBSCRIPTIONS_FIELD_NUMBER: _ClassVar[int]
    QUEUED_FIELD_NUMBER: _ClassVar[int]
    IN_FLIGHT_FIELD_NUMBER: _ClassVar[int]
    PARTITIONS_HELD_FIELD_NUMBER: _ClassVar[int]
    OLDEST_AGE_S_FIELD_NUMBER: _ClassVar[int]
    DURABLE_FIELD_NUMBER: _ClassVar[int]
    name: str
    sessions: int
    subscriptions: _containers.RepeatedScalarFieldContainer[str]
    queued: int
    in_flight: int
    partitions_held: int
    oldest_age_s: float
    durable: bool
    def __init__(self, name: _Optional[str] = ..., sessions: _Optional[int] = ..., subscriptions: _Optional[_Iterable[str]] = ..., queued: _Optional[int] = ..., in_flight: _Optional[int] = ..., partitions_held: _Optional[int] = ..., oldest_age_s: _Optional[float] = ..., durable: bool = ...) -> None: ...

class SessionDescription(_message.Message):
    __slots__ = ("session_id", "client_id", "agent", "types", "in_flight", "partitions_held", "draining")
    SESSION_ID_FIELD_NUMBER: _ClassVar[int]
    CLIENT_ID_FIELD_NUMBER: _ClassVar[int]
    AGENT_FIELD_NUMBER: _ClassVar[int]
    TYPES_FIELD_NUMBER: _ClassVar[int]
    IN_FLIGHT_FIELD_NUMBER: _ClassVar[int]
    PARTITIONS_HELD_FIELD_NUMBER: _ClassVar[int]
    DRAINING_FIELD_NUMBER: _ClassVar[int]
    session_id: str
    client_id: str
    agent: str
    types: _containers.RepeatedScalarFieldContainer[str]
    in_flight: int
    partitions_held: int
    draining: bool
    def __init__(self, session_id: _Optional[str] = ..., client_id: _Optional[str] = ..., agent: _Optional[str] = ..., types: _Optional[_Iterable[str]] = ..., in_flight: _Optional[int] = ..., partitions_held: _Optional[int] = ..., draining: bool = ...) -> None: ...

class Counters(_message.Message):
    __slots__ = ("published", "unmatched", "delivered", "accepted", "rejected", "released", "calls", "calls_failed", "replayed", "dropped")
    PUBLISHED_FIELD_NUMBER: _ClassVar[int]
    UNMATCHED_FIELD_NUMBER: _ClassVar[int]
    DELIVERED_FIELD_NUMBER: _ClassVar[int]
    ACCEPTED_FIELD_NUMBER: _ClassVar[int]
    REJECTED_FIELD_NUMBER: _ClassVar[int]
    RELEASED_FIELD_NUMBER: _ClassVar[int]
    CALLS_FIELD_NUMBER: _ClassVar[int]
    CALLS_FAILED_FIELD_NUMBER: _ClassVar[int]
    REPLAYED_FIELD_NUMBER: _ClassVar[int]
    DROPPED_FIELD_NUMBER: _ClassVar[int]
    published: int
    unmatched: int
    delivered: int
    accepted: int
    rejected: int
    released: int
    calls: int
    calls_failed: int
    replayed: int
    dropped: int
    def __init__(self, published: _Optional[int] = ..., unmatched: _Optional[int] = ..., delivered: _Optional[int] = ..., accepted: _Optional[int] = ..., rejected: _Optional[int] = ..., released: _Optional[int] = ..., calls: _Optional[int] = ..., calls_failed: _Optional[int] = ..., replayed: _Optional[int] = ..., dropped: _Optional[int] = ...) -> None: ...

class TypesRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class TypesResponse(_message.Message):
    __slots__ = ("types",)
    TYPES_FIELD_NUMBER: _ClassVar[int]
    types: _containers.RepeatedCompositeFieldContainer[TypeDescription]
    def __init__(self, types: _Optional[_Iterable[_Union[TypeDescription, _Mapping]]] = ...) -> None: ...

class RemoveTypeRequest(_message.Message):
    __slots__ = ("name",)
    NAME_FIELD_NUMBER: _ClassVar[int]
    name: str
    def __init__(self, name: _Optional[str] = ...) -> None: ...

class RemoveTypeResponse(_message.Message):
    __slots__ = ("dead_letters",)
    DEAD_LETTERS_FIELD_NUMBER: _ClassVar[int]
    dead_letters: int
    def __init__(self, dead_letters: _Optional[int] = ...) -> None: ...

class DeadLetterDescription(_message.Message):
    __slots__ = ("position", "agent_type", "agent_key", "topic_type", "topic_source", "event_id", "reason", "detail", "attempts", "age_s", "size_bytes")
    POSITION_FIELD_NUMBER: _ClassVar[int]
    AGENT_TYPE_FIELD_NUMBER: _ClassVar[int]
    AGENT_KEY_FIELD_NUMBER: _ClassVar[int]
    TOPIC_TYPE_FIELD_NUMBER: _ClassVar[int]
    TOPIC_SOURCE_FIELD_NUMBER: _ClassVar[int]
    EVENT_ID_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    DETAIL_FIELD_NUMBER: _ClassVar[int]
    ATTEMPTS_FIELD_NUMBER: _ClassVar[int]
    AGE_S_FIELD_NUMBER: _ClassVar[int]
    SIZE_BYTES_FIELD_NUMBER: _ClassVar[int]
    position: int
    agent_type: str
    agent_key: str
    topic_type: str
    topic_source: str
    event_id: str
    reason: str
    detail: str
    attempts: int
    age_s: float
    size_bytes: int
    def __init__(self, position: _Optional[int] = ..., agent_type: _Optional[str] = ..., agent_key: _Optional[str] = ..., topic_type: _Optional[str] = ..., topic_source: _Optional[str] = ..., event_id: _Optional[str] = ..., reason: _Optional[str] = ..., detail: _Optional[str] = ..., attempts: _Optional[int] = ..., age_s: _Optional[float] = ..., size_bytes: _Optional[int] = ...) -> None: ...

class DeadLetterSelection(_message.Message):
    __slots__ = ("positions", "agent_type", "reason", "all")
    POSITIONS_FIELD_NUMBER: _ClassVar[int]
    AGENT_TYPE_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    ALL_FIELD_NUMBER: _ClassVar[int]
    positions: _containers.RepeatedScalarFieldContainer[int]
    agent_type: str
    reason: str
    all: bool
    def __init__(self, positions: _Optional[_Iterable[int]] = ..., agent_type: _Optional[str] = ..., reason: _Optional[str] = ..., all: bool = ...) -> None: ...

class DeadLettersRequest(_message.Message):
    __slots__ = ("agent_type", "reason", "oldest_first", "cursor", "limit")
    AGENT_TYPE_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    OLDEST_FIRST_FIELD_NUMBER: _ClassVar[int]
    CURSOR_FIELD_NUMBER: _ClassVar[int]
    LIMIT_FIELD_NUMBER: _ClassVar[int]
    agent_type: str
    reason: str
    oldest_first: bool
    cursor: int
    limit: int
    def __init__(self, agent_type: _Optional[str] = ..., reason: _Optional[str] = ..., oldest_first: bool = ..., cursor: _Optional[int] = ..., limit: _Optional[int] = ...) -> None: ...

class DeadLettersResponse(_message.Message):
    __slots__ = ("dead_letters", "next_cursor")
    DEAD_LETTERS_FIELD_NUMBER: _ClassVar[int]
    NEXT_CURSOR_FIELD_NUMBER: _ClassVar[int]
    dead_letters: _containers.RepeatedCompositeFieldContainer[DeadLetterDescription]
    next_cursor: int
    def __init__(self, dead_letters: _Optional[_Iterable[_Union[DeadLetterDescription, _Mapping]]] = ..., next_cursor: _Optional[int] = ...) -> None: ...

class DeadLetterRequest(_message.Message):
    __slots__ = ("position",)
    POSITION_FIELD_NUMBER: _ClassVar[int]
    position: int
    def __init__(self, position: _Optional[int] = ...) -> None: ...

class DeadLetterResponse(_message.Message):
    __slots__ = ("dead_letter", "event")
    DEAD_LETTER_FIELD_NUMBER: _ClassVar[int]
    EVENT_FIELD_NUMBER: _ClassVar[int]
    dead_letter: DeadLetterDescription
    event: bytes
    def __init__(self, dead_letter: _Optional[_Union[DeadLetterDescription, _Mapping]] = ..., event: _Optional[bytes] = ...) -> None: ...

class ReplayDeadLettersRequest(_message.Message):
    __slots__ = ("selection",)
    SELECTION_FIELD_NUMBER: _ClassVar[int]
    selection: DeadLetterSelection
    def __init__(self, selection: _Optional[_Union[DeadLetterSelection, _Mapping]] = ...) -> None: ...

class ReplayDeadLettersResponse(_message.Message):
    __slots__ = ("replayed", "refused", "refusals", "missing")
    REPLAYED_FIELD_NUMBER: _ClassVar[int]
    REFUSED_FIELD_NUMBER: _ClassVar[int]
    REFUSALS_FIELD_NUMBER: _ClassVar[int]
    MISSING_FIELD_NUMBER: _ClassVar[int]
    replayed: int
    refused: int
    refusals: _containers.RepeatedCompositeFieldContainer[NotReplayed]
    missing: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, replayed: _Optional[int] = ..., refused: _Optional[int] = ..., refusals: _Optional[_Iterable[_Union[NotReplayed, _Mapping]]] = ..., missing: _Optional[_Iterable[int]] = ...) -> None: ...

class NotReplayed(_message.Message):
    __slots__ = ("position", "agent_type", "agent_key", "code", "reason")
    POSITION_FIELD_NUMBER: _ClassVar[int]
    AGENT_TYPE_FIELD_NUMBER: _ClassVar[int]
    AGENT_KEY_FIELD_NUMBER: _ClassVar[int]
    CODE_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    position: int
    agent_type: str
    agent_key: str
    code: int
    reason: str
    def __init__(self, position: _Optional[int] = ..., agent_type: _Optional[str] = ..., agent_key: _Optional[str] = ..., code: _Optional[int] = ..., reason: _Optional[str] = ...) -> None: ...

class DropDeadLettersRequest(_message.Message):
    __slots__ = ("selection",)
    SELECTION_FIELD_NUMBER: _ClassVar[int]
    selection: DeadLetterSelection
    def __init__(self, selection: _Optional[_Union[DeadLetterSelection, _Mapping]] = ...) -> None: ...

class DropDeadLettersResponse(_message.Message):
    __slots__ = ("dropped", "missing")
    DROPPED_FIELD_NUMBER: _ClassVar[int]
    MISSING_FIELD_NUMBER: _ClassVar[int]
    dropped: int
    missing: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, dropped: _Optional[int] = ..., missing: _Optional[_Iterable[int]] = ...) -> None: ...
