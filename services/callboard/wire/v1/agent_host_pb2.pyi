from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Iterable as _Iterable, Mapping as _Mapping, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class ConnectRequest(_message.Message):
    __slots__ = ("hello", "register", "publishes", "settlements", "calls", "replies", "cancels", "credits", "beat", "surrendered", "drain", "received", "leave", "begins", "publish_runs", "settlement_runs")
    HELLO_FIELD_NUMBER: _ClassVar[int]
    REGISTER_FIELD_NUMBER: _ClassVar[int]
    PUBLISHES_FIELD_NUMBER: _ClassVar[int]
    SETTLEMENTS_FIELD_NUMBER: _ClassVar[int]
    CALLS_FIELD_NUMBER: _ClassVar[int]
    REPLIES_FIELD_NUMBER: _ClassVar[int]
    CANCELS_FIELD_NUMBER: _ClassVar[int]
    CREDITS_FIELD_NUMBER: _ClassVar[int]
    BEAT_FIELD_NUMBER: _ClassVar[int]
    SURRENDERED_FIELD_NUMBER: _ClassVar[int]
    DRAIN_FIELD_NUMBER: _ClassVar[int]
    RECEIVED_FIELD_NUMBER: _ClassVar[int]
    LEAVE_FIELD_NUMBER: _ClassVar[int]
    BEGINS_FIELD_NUMBER: _ClassVar[int]
    PUBLISH_RUNS_FIELD_NUMBER: _ClassVar[int]
    SETTLEMENT_RUNS_FIELD_NUMBER: _ClassVar[int]
    hello: Hello
    register: Register
    publishes: _containers.RepeatedCompositeFieldContainer[Publish]
    settlements: _containers.RepeatedCompositeFieldContainer[Settlement]
    calls: _containers.RepeatedCompositeFieldContainer[Call]
    replies: _containers.RepeatedCompositeFieldContainer[Reply]
    cancels: _containers.RepeatedCompositeFieldContainer[Cancel]
    credits: _containers.RepeatedCompositeFieldContainer[Credit]
    beat: Beat
    surrendered: _containers.RepeatedCompositeFieldContainer[Surrendered]
    drain: Drain
    received: int
    leave: Leave
    begins: _containers.RepeatedCompositeFieldContainer[DeliveryRef]
    publish_runs: _containers.RepeatedCompositeFieldContainer[PublishRun]
    settlement_runs: _containers.RepeatedCompositeFieldContainer[SettlementRun]
    def __init__(self, hello: _Optional[_Union[Hello, _Mapping]] = ..., register: _Optional[_Union[Register, _Mapping]] = ..., publishes: _Optional[_Iterable[_Union[Publish, _Mapping]]] = ..., settlements: _Optional[_Iterable[_Union[Settlement, _Mapping]]] = ..., calls: _Optional[_Iterable[_Union[Call, _Mapping]]] = ..., replies: _Optional[_Iterable[_Union[Reply, _Mapping]]] = ..., cancels: _Optional[_Iterable[_Union[Cancel, _Mapping]]] = ..., credits: _Optional[_Iterable[_Union[Credit, _Mapping]]] = ..., beat: _Optional[_Union[Beat, _Mapping]] = ..., surrendered: _Optional[_Iterable[_Union[Surrendered, _Mapping]]] = ..., drain: _Optional[_Union[Drain, _Mapping]] = ..., received: _Optional[int] = ..., leave: _Optional[_Union[Leave, _Mapping]] = ..., begins: _Optional[_Iterable[_Union[DeliveryRef, _Mapping]]] = ..., publish_runs: _Optional[_Iterable[_Union[PublishRun, _Mapping]]] = ..., settlement_runs: _Optional[_Iterable[_Union[SettlementRun, _Mapping]]] = ...) -> None: ...

class ConnectResponse(_message.Message):
    __slots__ = ("welcome", "registered", "published", "settled", "deliveries", "calls", "replies", "cancels", "credits", "lease", "surrenders", "drain", "received", "begun", "delivery_runs")
    WELCOME_FIELD_NUMBER: _ClassVar[int]
    REGISTERED_FIELD_NUMBER: _ClassVar[int]
    PUBLISHED_FIELD_NUMBER: _ClassVar[int]
    SETTLED_FIELD_NUMBER: _ClassVar[int]
    DELIVERIES_FIELD_NUMBER: _ClassVar[int]
    CALLS_FIELD_NUMBER: _ClassVar[int]
    REPLIES_FIELD_NUMBER: _ClassVar[int]
    CANCELS_FIELD_NUMBER: _ClassVar[int]
    CREDITS_FIELD_NUMBER: _ClassVar[int]
    LEASE_FIELD_NUMBER: _ClassVar[int]
    SURRENDERS_FIELD_NUMBER: _ClassVar[int]
    DRAIN_FIELD_NUMBER: _ClassVar[int]
    RECEIVED_FIELD_NUMBER: _ClassVar[int]
    BEGUN_FIELD_NUMBER: _ClassVar[int]
    DELIVERY_RUNS_FIELD_NUMBER: _ClassVar[int]
    welcome: Welcome
    registered: Registered
    published: Published
    settled: Settled
    deliveries: _containers.RepeatedCompositeFieldContainer[Delivery]
    calls: _containers.RepeatedCompositeFieldContainer[Call]
    replies: _containers.RepeatedCompositeFieldContainer[Reply]
    cancels: _containers.RepeatedCompositeFieldContainer[Cancel]
    credits: _containers.RepeatedCompositeFieldContainer[Credit]
    lease: Lease
    surrenders: _containers.RepeatedCompositeFieldContainer[Surrender]
    drain: Drain
    received: int
    begun: _containers.RepeatedCompositeFieldContainer[DeliveryRef]
    delivery_runs: _containers.RepeatedCompositeFieldContainer[DeliveryRun]
    def __init__(self, welcome: _Optional[_Union[Welcome, _Mapping]] = ..., registered: _Optional[_Union[Registered, _Mapping]] = ..., published: _Optional[_Union[Published, _Mapping]] = ..., settled: _Optional[_Union[Settled, _Mapping]] = ..., deliveries: _Optional[_Iterable[_Union[Delivery, _Mapping]]] = ..., calls: _Optional[_Iterable[_Union[Call, _Mapping]]] = ..., replies: _Optional[_Iterable[_Union[Reply, _Mapping]]] = ..., cancels: _Optional[_Iterable[_Union[Cancel, _Mapping]]] = ..., credits: _Optional[_Iterable[_Union[Credit, _Mapping]]] = ..., lease: _Optional[_Union[Lease, _Mapping]] = ..., surrenders: _Optional[_Iterable[_Union[Surrender, _Mapping]]] = ..., drain: _Optional[_Union[Drain, _Mapping]] = ..., received: _Optional[int] = ..., begun: _Optional[_Iterable[_Union[DeliveryRef, _Mapping]]] = ..., delivery_runs: _Optional[_Iterable[_Union[DeliveryRun, _Mapping]]] = ...) -> None: ...

class Hello(_message.Message):
    __slots__ = ("version_min", "version_max", "capabilities", "client_id", "incarnation", "resume_token", "held", "agent", "received", "published", "claims")
    VERSION_MIN_FIELD_NUMBER: _ClassVar[int]
    VERSION_MAX_FIELD_NUMBER: _ClassVar[int]
    CAPABILITIES_FIELD_NUMBER: _ClassVar[int]
    CLIENT_ID_FIELD_NUMBER: _ClassVar[int]
    INCARNATION_FIELD_NUMBER: _ClassVar[int]
    RESUME_TOKEN_FIELD_NUMBER: _ClassVar[int]
    HELD_FIELD_NUMBER: _ClassVar[int]
    AGENT_FIELD_NUMBER: _ClassVar[int]
    RECEIVED_FIELD_NUMBER: _ClassVar[int]
    PUBLISHED_FIELD_NUMBER: _ClassVar[int]
    CLAIMS_FIELD_NUMBER: _ClassVar[int]
    version_min: int
    version_max: int
    capabilities: _containers.RepeatedScalarFieldContainer[str]
    client_id: str
    incarnation: str
    resume_token: bytes
    held: _containers.RepeatedCompositeFieldContainer[DeliveryRef]
    agent: str
    received: int
    published: int
    claims: _containers.RepeatedCompositeFieldContainer[Claim]
    def __init__(self, version_min: _Optional[int] = ..., version_max: _Optional[int] = ..., capabilities: _Optional[_Iterable[str]] = ..., client_id: _Optional[str] = ..., incarnation: _Optional[str] = ..., resume_token: _Optional[bytes] = ..., held: _Optional[_Iterable[_Union[DeliveryRef, _Mapping]]] = ..., agent: _Optional[str] = ..., received: _Optional[int] = ..., published: _Optional[int] = ..., claims: _Optional[_Iterable[_Union[Claim, _Mapping]]] = ...) -> None: ...

class Claim(_message.Message):
    __slots__ = ("agent_type", "partitions")
    AGENT_TYPE_FIELD_NUMBER: _ClassVar[int]
    PARTITIONS_FIELD_NUMBER: _ClassVar[int]
    agent_type: str
    partitions: _containers.RepeatedCompositeFieldContainer[PartitionGrant]
    def __init__(self, agent_type: _Optional[str] = ..., partitions: _Optional[_Iterable[_Union[PartitionGrant, _Mapping]]] = ...) -> None: ...

class Welcome(_message.Message):
    __slots__ = ("version", "capabilities", "session_id", "resume_token", "lease_ms", "max_event_bytes", "publish_window", "delivery_window", "partitions", "operators_port", "resumed", "received", "known")
    VERSION_FIELD_NUMBER: _ClassVar[int]
    CAPABILITIES_FIELD_NUMBER: _ClassVar[int]
    SESSION_ID_FIELD_NUMBER: _ClassVar[int]
    RESUME_TOKEN_FIELD_NUMBER: _ClassVar[int]
    LEASE_MS_FIELD_NUMBER: _ClassVar[int]
    MAX_EVENT_BYTES_FIELD_NUMBER: _ClassVar[int]
    PUBLISH_WINDOW_FIELD_NUMBER: _ClassVar[int]
    DELIVERY_WINDOW_FIELD_NUMBER: _ClassVar[int]
    PARTITIONS_FIELD_NUMBER: _ClassVar[int]
    OPERATORS_PORT_FIELD_NUMBER: _ClassVar[int]
    RESUMED_FIELD_NUMBER: _ClassVar[int]
    RECEIVED_FIELD_NUMBER: _ClassVar[int]
    KNOWN_FIELD_NUMBER: _ClassVar[int]
    version: int
    capabilities: _containers.RepeatedScalarFieldContainer[str]
    session_id: str
    resume_token: bytes
    lease_ms: int
    max_event_bytes: int
    publish_window: int
    delivery_window: int
    partitions: int
    operators_port: int
    resumed: bool
    received: int
    known: bool
    def __init__(self, version: _Optional[int] = ..., capabilities: _Optional[_Iterable[str]] = ..., session_id: _Optional[str] = ..., resume_token: _Optional[bytes] = ..., lease_ms: _Optional[int] = ..., max_event_bytes: _Optional[int] = ..., publish_window: _Optional[int] = ..., delivery_window: _Optional[int] = ..., partitions: _Optional[int] = ..., operators_port: _Optional[int] = ..., resumed: bool = ..., received: _Optional[int] = ..., known: bool = ...) -> None: ...

class Register(_message.Message):
    __slots__ = ("revision", "types", "subscriptions")
    REVISION_FIELD_NUMBER: _ClassVar[int]
    TYPES_FIELD_NUMBER: _ClassVar[int]
    SUBSCRIPTIONS_FIELD_NUMBER: _ClassVar[int]
    revision: int
    types: _containers.RepeatedCompositeFieldContainer[AgentTypeEntry]
    subscriptions: _containers.RepeatedCompositeFieldContainer[SubscriptionEntry]
    def __init__(self, revision: _Optional[int] = ..., types: _Optional[_Iterable[_Union[AgentTypeEntry, _Mapping]]] = ..., subscriptions: _Optional[_Iterable[_Union[SubscriptionEntry, _Mapping]]] = ...) -> None: ...

class AgentTypeEntry(_message.Message):
    __slots__ = ("name", "session_only", "policy")
    NAME_FIELD_NUMBER: _ClassVar[int]
    SESSION_ONLY_FIELD_NUMBER: _ClassVar[int]
    POLICY_FIELD_NUMBER: _ClassVar[int]
    name: str
    session_only: bool
    policy: Policy
    def __init__(self, name: _Optional[str] = ..., session_only: bool = ..., policy: _Optional[_Union[Policy, _Mapping]] = ...) -> None: ...

class Policy(_message.Message):
    __slots__ = ("max_attempts", "backoff_ms", "backoff_max_ms", "turn_timeout_ms", "max_concurrency", "persistent")
    MAX_ATTEMPTS_FIELD_NUMBER: _ClassVar[int]
    BACKOFF_MS_FIELD_NUMBER: _ClassVar[int]
    BACKOFF_MAX_MS_FIELD_NUMBER: _ClassVar[int]
    TURN_TIMEOUT_MS_FIELD_NUMBER: _ClassVar[int]
    MAX_CONCURRENCY_FIELD_NUMBER: _ClassVar[int]
    PERSISTENT_FIELD_NUMBER: _ClassVar[int]
    max_attempts: int
    backoff_ms: int
    backoff_max_ms: int
    turn_timeout_ms: int
    max_concurrency: int
    persistent: bool
    def __init__(self, max_attempts: _Optional[int] = ..., backoff_ms: _Optional[int] = ..., backoff_max_ms: _Optional[int] = ..., turn_timeout_ms: _Optional[int] = ..., max_concurrency: _Optional[int] = ..., persistent: bool = ...) -> None: ...

class SubscriptionEntry(_message.Message):
    __slots__ = ("id", "agent_type", "topic_type", "topic_type_prefix")
    ID_FIELD_NUMBER: _ClassVar[int]
    AGENT_TYPE_FIELD_NUMBER: _ClassVar[int]
    TOPIC_TYPE_FIELD_NUMBER: _ClassVar[int]
    TOPIC_TYPE_PREFIX_FIELD_NUMBER: _ClassVar[int]
    id: str
    agent_type: str
    topic_type: str
    topic_type_prefix: str
    def __init__(self, id: _Optional[str] = ..., agent_type: _Optional[str] = ..., topic_type: _Optional[str] = ..., topic_type_prefix: _Optional[str] = ...) -> None: ...

class Registered(_message.Message):
    __slots__ = ("revision", "errors", "adopted")
    REVISION_FIELD_NUMBER: _ClassVar[int]
    ERRORS_FIELD_NUMBER: _ClassVar[int]
    ADOPTED_FIELD_NUMBER: _ClassVar[int]
    revision: int
    errors: _containers.RepeatedCompositeFieldContainer[RegistrationError]
    adopted: _containers.RepeatedCompositeFieldContainer[Claim]
    def __init__(self, revision: _Optional[int] = ..., errors: _Optional[_Iterable[_Union[RegistrationError, _Mapping]]] = ..., adopted: _Optional[_Iterable[_Union[Claim, _Mapping]]] = ...) -> None: ...

class RegistrationError(_message.Message):
    __slots__ = ("type_name", "subscription_id", "code", "reason")
    TYPE_NAME_FIELD_NUMBER: _ClassVar[int]
    SUBSCRIPTION_ID_FIELD_NUMBER: _ClassVar[int]
    CODE_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    type_name: str
    subscription_id: str
    code: int
    reason: str
    def __init__(self, type_name: _Optional[str] = ..., subscription_id: _Optional[str] = ..., code: _Optional[int] = ..., reason: _Optional[str] = ...) -> None: ...

class Publish(_message.Message):
    __slots__ = ("number", "event", "topic_type", "topic_source", "sender", "hop", "remaining_ms")
    NUMBER_FIELD_NUMBER: _ClassVar[int]
    EVENT_FIELD_NUMBER: _ClassVar[int]
    TOPIC_TYPE_FIELD_NUMBER: _ClassVar[int]
    TOPIC_SOURCE_FIELD_NUMBER: _ClassVar[int]
    SENDER_FIELD_NUMBER: _ClassVar[int]
    HOP_FIELD_NUMBER: _ClassVar[int]
    REMAINING_MS_FIELD_NUMBER: _ClassVar[int]
    number: int
    event: bytes
    topic_type: str
    topic_source: str
    sender: AgentRef
    hop: TraceContext
    remaining_ms: int
    def __init__(self, number: _Optional[int] = ..., event: _Optional[bytes] = ..., topic_type: _Optional[str] = ..., topic_source: _Optional[str] = ..., sender: _Optional[_Union[AgentRef, _Mapping]] = ..., hop: _Optional[_Union[TraceContext, _Mapping]] = ..., remaining_ms: _Optional[int] = ...) -> None: ...

class PublishRun(_message.Message):
    __slots__ = ("first_number", "forms", "events", "form_of", "remaining_ms", "hops")
    FIRST_NUMBER_FIELD_NUMBER: _ClassVar[int]
    FORMS_FIELD_NUMBER: _ClassVar[int]
    EVENTS_FIELD_NUMBER: _ClassVar[int]
    FORM_OF_FIELD_NUMBER: _ClassVar[int]
    REMAINING_MS_FIELD_NUMBER: _ClassVar[int]
    HOPS_FIELD_NUMBER: _ClassVar[int]
    first_number: int
    forms: _containers.RepeatedCompositeFieldContainer[Publish]
    events: _containers.RepeatedScalarFieldContainer[bytes]
    form_of: _containers.RepeatedScalarFieldContainer[int]
    remaining_ms: _containers.RepeatedScalarFieldContainer[int]
    hops: _containers.RepeatedCompositeFieldContainer[TraceContext]
    def __init__(self, first_number: _Optional[int] = ..., forms: _Optional[_Iterable[_Union[Publish, _Mapping]]] = ..., events: _Optional[_Iterable[bytes]] = ..., form_of: _Optional[_Iterable[int]] = ..., remaining_ms: _Optional[_Iterable[int]] = ..., hops: _Optional[_Iterable[_Union[TraceContext, _Mapping]]] = ...) -> None: ...

class Published(_message.Message):
    __slots__ = ("through", "beyond", "refused")
    THROUGH_FIELD_NUMBER: _ClassVar[int]
    BEYOND_FIELD_NUMBER: _ClassVar[int]
    REFUSED_FIELD_NUMBER: _ClassVar[int]
    through: int
    beyond: _containers.RepeatedScalarFieldContainer[int]
    refused: _containers.RepeatedCompositeFieldContainer[Refusal]
    def __init__(self, through: _Optional[int] = ..., beyond: _Optional[_Iterable[int]] = ..., refused: _Optional[_Iterable[_Union[Refusal, _Mapping]]] = ...) -> None: ...

class Refusal(_message.Message):
    __slots__ = ("number", "code", "reason")
    NUMBER_FIELD_NUMBER: _ClassVar[int]
    CODE_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    number: int
    code: int
    reason: str
    def __init__(self, number: _Optional[int] = ..., code: _Optional[int] = ..., reason: _Optional[str] = ...) -> None: ...

class Delivery(_message.Message):
    __slots__ = ("event", "hop", "targets")
    EVENT_FIELD_NUMBER: _ClassVar[int]
    HOP_FIELD_NUMBER: _ClassVar[int]
    TARGETS_FIELD_NUMBER: _ClassVar[int]
    event: bytes
    hop: TraceContext
    targets: _containers.RepeatedCompositeFieldContainer[DeliveryTarget]
    def __init__(self, event: _Optional[bytes] = ..., hop: _Optional[_Union[TraceContext, _Mapping]] = ..., targets: _Optional[_Iterable[_Union[DeliveryTarget, _Mapping]]] = ...) -> None: ...

class DeliveryTarget(_message.Message):
    __slots__ = ("position", "attempt", "agent", "grant", "failed_turns", "losses")
    POSITION_FIELD_NUMBER: _ClassVar[int]
    ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    AGENT_FIELD_NUMBER: _ClassVar[int]
    GRANT_FIELD_NUMBER: _ClassVar[int]
    FAILED_TURNS_FIELD_NUMBER: _ClassVar[int]
    LOSSES_FIELD_NUMBER: _ClassVar[int]
    position: int
    attempt: int
    agent: AgentRef
    grant: Grant
    failed_turns: int
    losses: int
    def __init__(self, position: _Optional[int] = ..., attempt: _Optional[int] = ..., agent: _Optional[_Union[AgentRef, _Mapping]] = ..., grant: _Optional[_Union[Grant, _Mapping]] = ..., failed_turns: _Optional[int] = ..., losses: _Optional[int] = ...) -> None: ...

class DeliveryRun(_message.Message):
    __slots__ = ("forms", "events", "hops", "target_counts", "positions", "form_of")
    FORMS_FIELD_NUMBER: _ClassVar[int]
    EVENTS_FIELD_NUMBER: _ClassVar[int]
    HOPS_FIELD_NUMBER: _ClassVar[int]
    TARGET_COUNTS_FIELD_NUMBER: _ClassVar[int]
    POSITIONS_FIELD_NUMBER: _ClassVar[int]
    FORM_OF_FIELD_NUMBER: _ClassVar[int]
    forms: _containers.RepeatedCompositeFieldContainer[DeliveryTarget]
    events: _containers.RepeatedScalarFieldContainer[bytes]
    hops: _containers.RepeatedCompositeFieldContainer[TraceContext]
    target_counts: _containers.RepeatedScalarFieldContainer[int]
    positions: _containers.RepeatedScalarFieldContainer[int]
    form_of: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, forms: _Optional[_Iterable[_Union[DeliveryTarget, _Mapping]]] = ..., events: _Optional[_Iterable[bytes]] = ..., hops: _Optional[_Iterable[_Union[TraceContext, _Mapping]]] = ..., target_counts: _Optional[_Iterable[int]] = ..., positions: _Optional[_Iterable[int]] = ..., form_of: _Optional[_Iterable[int]] = ...) -> None: ...

class DeliveryRef(_message.Message):
    __slots__ = ("position", "attempt")
    POSITION_FIELD_NUMBER: _ClassVar[int]
    ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    position: int
    attempt: int
    def __init__(self, position: _Optional[int] = ..., attempt: _Optional[int] = ...) -> None: ...

class Grant(_message.Message):
    __slots__ = ("epoch", "serial")
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    SERIAL_FIELD_NUMBER: _ClassVar[int]
    epoch: int
    serial: int
    def __init__(self, epoch: _Optional[int] = ..., serial: _Optional[int] = ...) -> None: ...

class Settlement(_message.Message):
    __slots__ = ("number", "delivery", "grant", "accepted", "rejected", "released", "effects")
    NUMBER_FIELD_NUMBER: _ClassVar[int]
    DELIVERY_FIELD_NUMBER: _ClassVar[int]
    GRANT_FIELD_NUMBER: _ClassVar[int]
    ACCEPTED_FIELD_NUMBER: _ClassVar[int]
    REJECTED_FIELD_NUMBER: _ClassVar[int]
    RELEASED_FIELD_NUMBER: _ClassVar[int]
    EFFECTS_FIELD_NUMBER: _ClassVar[int]
    number: int
    delivery: DeliveryRef
    grant: Grant
    accepted: Accepted
    rejected: Rejected
    released: Released
    effects: Effects
    def __init__(self, number: _Optional[int] = ..., delivery: _Optional[_Union[DeliveryRef, _Mapping]] = ..., grant: _Optional[_Union[Grant, _Mapping]] = ..., accepted: _Optional[_Union[Accepted, _Mapping]] = ..., rejected: _Optional[_Union[Rejected, _Mapping]] = ..., released: _Optional[_Union[Released, _Mapping]] = ..., effects: _Optional[_Union[Effects, _Mapping]] = ...) -> None: ...

class SettlementRun(_message.Message):
    __slots__ = ("first_number", "forms", "positions", "form_of")
    FIRST_NUMBER_FIELD_NUMBER: _ClassVar[int]
    FORMS_FIELD_NUMBER: _ClassVar[int]
    POSITIONS_FIELD_NUMBER: _ClassVar[int]
    FORM_OF_FIELD_NUMBER: _ClassVar[int]
    first_number: int
    forms: _containers.RepeatedCompositeFieldContainer[Settlement]
    positions: _containers.RepeatedScalarFieldContainer[int]
    form_of: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, first_number: _Optional[int] = ..., forms: _Optional[_Iterable[_Union[Settlement, _Mapping]]] = ..., positions: _Optional[_Iterable[int]] = ..., form_of: _Optional[_Iterable[int]] = ...) -> None: ...

class Accepted(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class Rejected(_message.Message):
    __slots__ = ("reason", "detail")
    REASON_FIELD_NUMBER: _ClassVar[int]
    DETAIL_FIELD_NUMBER: _ClassVar[int]
    reason: str
    detail: str
    def __init__(self, reason: _Optional[str] = ..., detail: _Optional[str] = ...) -> None: ...

class Released(_message.Message):
    __slots__ = ("not_before_ms", "failed_turns")
    NOT_BEFORE_MS_FIELD_NUMBER: _ClassVar[int]
    FAILED_TURNS_FIELD_NUMBER: _ClassVar[int]
    not_before_ms: int
    failed_turns: int
    def __init__(self, not_before_ms: _Optional[int] = ..., failed_turns: _Optional[int] = ...) -> None: ...

class Effects(_message.Message):
    __slots__ = ("base_version", "state", "publishes")
    BASE_VERSION_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    PUBLISHES_FIELD_NUMBER: _ClassVar[int]
    base_version: int
    state: bytes
    publishes: _containers.RepeatedCompositeFieldContainer[Publish]
    def __init__(self, base_version: _Optional[int] = ..., state: _Optional[bytes] = ..., publishes: _Optional[_Iterable[_Union[Publish, _Mapping]]] = ...) -> None: ...

class Settled(_message.Message):
    __slots__ = ("through", "refused")
    THROUGH_FIELD_NUMBER: _ClassVar[int]
    REFUSED_FIELD_NUMBER: _ClassVar[int]
    through: int
    refused: _containers.RepeatedCompositeFieldContainer[Refusal]
    def __init__(self, through: _Optional[int] = ..., refused: _Optional[_Iterable[_Union[Refusal, _Mapping]]] = ...) -> None: ...

class Call(_message.Message):
    __slots__ = ("id", "target", "payload", "remaining_ms", "parent", "chain", "sender", "hop", "grant", "credit")
    ID_FIELD_NUMBER: _ClassVar[int]
    TARGET_FIELD_NUMBER: _ClassVar[int]
    PAYLOAD_FIELD_NUMBER: _ClassVar[int]
    REMAINING_MS_FIELD_NUMBER: _ClassVar[int]
    PARENT_FIELD_NUMBER: _ClassVar[int]
    CHAIN_FIELD_NUMBER: _ClassVar[int]
    SENDER_FIELD_NUMBER: _ClassVar[int]
    HOP_FIELD_NUMBER: _ClassVar[int]
    GRANT_FIELD_NUMBER: _ClassVar[int]
    CREDIT_FIELD_NUMBER: _ClassVar[int]
    id: int
    target: AgentRef
    payload: bytes
    remaining_ms: int
    parent: TurnRef
    chain: _containers.RepeatedCompositeFieldContainer[TurnRef]
    sender: AgentRef
    hop: TraceContext
    grant: Grant
    credit: int
    def __init__(self, id: _Optional[int] = ..., target: _Optional[_Union[AgentRef, _Mapping]] = ..., payload: _Optional[bytes] = ..., remaining_ms: _Optional[int] = ..., parent: _Optional[_Union[TurnRef, _Mapping]] = ..., chain: _Optional[_Iterable[_Union[TurnRef, _Mapping]]] = ..., sender: _Optional[_Union[AgentRef, _Mapping]] = ..., hop: _Optional[_Union[TraceContext, _Mapping]] = ..., grant: _Optional[_Union[Grant, _Mapping]] = ..., credit: _Optional[int] = ...) -> None: ...

class TurnRef(_message.Message):
    __slots__ = ("delivery", "call")
    DELIVERY_FIELD_NUMBER: _ClassVar[int]
    CALL_FIELD_NUMBER: _ClassVar[int]
    delivery: DeliveryRef
    call: int
    def __init__(self, delivery: _Optional[_Union[DeliveryRef, _Mapping]] = ..., call: _Optional[int] = ...) -> None: ...

class Reply(_message.Message):
    __slots__ = ("call_id", "payload", "error", "last", "effects")
    CALL_ID_FIELD_NUMBER: _ClassVar[int]
    PAYLOAD_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    LAST_FIELD_NUMBER: _ClassVar[int]
    EFFECTS_FIELD_NUMBER: _ClassVar[int]
    call_id: int
    payload: bytes
    error: CallError
    last: bool
    effects: Effects
    def __init__(self, call_id: _Optional[int] = ..., payload: _Optional[bytes] = ..., error: _Optional[_Union[CallError, _Mapping]] = ..., last: bool = ..., effects: _Optional[_Union[Effects, _Mapping]] = ...) -> None: ...

class CallError(_message.Message):
    __slots__ = ("code", "type", "message")
    CODE_FIELD_NUMBER: _ClassVar[int]
    TYPE_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    code: int
    type: str
    message: str
    def __init__(self, code: _Optional[int] = ..., type: _Optional[str] = ..., message: _Optional[str] = ...) -> None: ...

class Payload(_message.Message):
    __slots__ = ("data_type", "data_content_type", "data", "message_id")
    DATA_TYPE_FIELD_NUMBER: _ClassVar[int]
    DATA_CONTENT_TYPE_FIELD_NUMBER: _ClassVar[int]
    DATA_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_ID_FIELD_NUMBER: _ClassVar[int]
    data_type: str
    data_content_type: str
    data: bytes
    message_id: str
    def __init__(self, data_type: _Optional[str] = ..., data_content_type: _Optional[str] = ..., data: _Optional[bytes] = ..., message_id: _Optional[str] = ...) -> None: ...

class Cancel(_message.Message):
    __slots__ = ("call_id",)
    CALL_ID_FIELD_NUMBER: _ClassVar[int]
    call_id: int
    def __init__(self, call_id: _Optional[int] = ...) -> None: ...

class Credit(_message.Message):
    __slots__ = ("call_id", "count")
    CALL_ID_FIELD_NUMBER: _ClassVar[int]
    COUNT_FIELD_NUMBER: _ClassVar[int]
    call_id: int
    count: int
    def __init__(self, call_id: _Optional[int] = ..., count: _Optional[int] = ...) -> None: ...

class Beat(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class Lease(_message.Message):
    __slots__ = ("ms",)
    MS_FIELD_NUMBER: _ClassVar[int]
    ms: int
    def __init__(self, ms: _Optional[int] = ...) -> None: ...

class Surrender(_message.Message):
    __slots__ = ("agent_type", "partitions")
    AGENT_TYPE_FIELD_NUMBER: _ClassVar[int]
    PARTITIONS_FIELD_NUMBER: _ClassVar[int]
    agent_type: str
    partitions: _containers.RepeatedCompositeFieldContainer[PartitionGrant]
    def __init__(self, agent_type: _Optional[str] = ..., partitions: _Optional[_Iterable[_Union[PartitionGrant, _Mapping]]] = ...) -> None: ...

class Surrendered(_message.Message):
    __slots__ = ("agent_type", "partitions")
    AGENT_TYPE_FIELD_NUMBER: _ClassVar[int]
    PARTITIONS_FIELD_NUMBER: _ClassVar[int]
    agent_type: str
    partitions: _containers.RepeatedCompositeFieldContainer[PartitionGrant]
    def __init__(self, agent_type: _Optional[str] = ..., partitions: _Optional[_Iterable[_Union[PartitionGrant, _Mapping]]] = ...) -> None: ...

class PartitionGrant(_message.Message):
    __slots__ = ("partition", "grant")
    PARTITION_FIELD_NUMBER: _ClassVar[int]
    GRANT_FIELD_NUMBER: _ClassVar[int]
    partition: int
    grant: Grant
    def __init__(self, partition: _Optional[int] = ..., grant: _Optional[_Union[Grant, _Mapping]] = ...) -> None: ...

class Drain(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class Leave(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class AgentRef(_message.Message):
    __slots__ = ("type", "key")
    TYPE_FIELD_NUMBER: _ClassVar[int]
    KEY_FIELD_NUMBER: _ClassVar[int]
    type: str
    key: str
    def __init__(self, type: _Optional[str] = ..., key: _Optional[str] = ...) -> None: ...

class TraceContext(_message.Message):
    __slots__ = ("traceparent", "tracestate")
    TRACEPARENT_FIELD_NUMBER: _ClassVar[int]
    TRACESTATE_FIELD_NUMBER: _ClassVar[int]
    traceparent: str
    tracestate: str
    def __init__(self, traceparent: _Optional[str] = ..., tracestate: _Optional[str] = ...) -> None: ...
