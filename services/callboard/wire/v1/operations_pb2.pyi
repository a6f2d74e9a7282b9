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
    __slots__ = ("name", "sessions", "subscriptions", "queued", "in_flight", "partitions_held", "oldest_age_s")
    NAME_FIELD_NUMBER: _ClassVar[int]
    SESSIONS_FIELD_NUMBER: _ClassVar[int]
    SUBSCRIPTIONS_FIELD_NUMBER: _ClassVar[int]
    QUEUED_FIELD_NUMBER: _ClassVar[int]
    IN_FLIGHT_FIELD_NUMBER: _ClassVar[int]
    PARTITIONS_HELD_FIELD_NUMBER: _ClassVar[int]
    OLDEST_AGE_S_FIELD_NUMBER: _ClassVar[int]
    name: str
    sessions: int
    subscriptions: _containers.RepeatedScalarFieldContainer[str]
    queued: int
    in_flight: int
    partitions_held: int
    oldest_age_s: float
    def __init__(self, name: _Optional[str] = ..., sessions: _Optional[int] = ..., subscriptions: _Optional[_Iterable[str]] = ..., queued: _Optional[int] = ..., in_flight: _Optional[int] = ..., partitions_held: _Optional[int] = ..., oldest_age_s: _Optional[float] = ...) -> None: ...

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
    __slots__ = ("published", "unmatched", "delivered", "accepted", "rejected", "released", "calls", "calls_failed")
    PUBLISHED_FIELD_NUMBER: _ClassVar[int]
    UNMATCHED_FIELD_NUMBER: _ClassVar[int]
    DELIVERED_FIELD_NUMBER: _ClassVar[int]
    ACCEPTED_FIELD_NUMBER: _ClassVar[int]
    REJECTED_FIELD_NUMBER: _ClassVar[int]
    RELEASED_FIELD_NUMBER: _ClassVar[int]
    CALLS_FIELD_NUMBER: _ClassVar[int]
    CALLS_FAILED_FIELD_NUMBER: _ClassVar[int]
    published: int
    unmatched: int
    delivered: int
    accepted: int
    rejected: int
    released: int
    calls: int
    calls_failed: int
    def __init__(self, published: _Optional[int] = ..., unmatched: _Optional[int] = ..., delivered: _Optional[int] = ..., accepted: _Optional[int] = ..., rejected: _Optional[int] = ..., released: _Optional[int] = ..., calls: _Optional[int] = ..., calls_failed: _Optional[int] = ...) -> None: ...
