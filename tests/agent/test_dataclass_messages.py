"""Dataclasses come back from their JSON as what they were, or are refused when registered."""

from __future__ import annotations

import dataclasses
import json
import math
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import InitVar, dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum, IntEnum, StrEnum
from pathlib import Path
from typing import Any, Generic, Literal, TypeVar
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict, RootModel

from callboard import AgentId, InvalidMessage, TopicId
from callboard.agent.serializers import DataclassJsonMessageSerializer

T = TypeVar("T")


@dataclass
class Cat:
    name: str
    age: int = 0


@dataclass
class Dog:
    name: str
    age: int = 0


@dataclass
class Puppy(Dog):
    toy: str = ""


class Bird(BaseModel):
    name: str
    age: int = 0


class StrictFish(BaseModel):
    """Refuses what it does not know, and values of other types."""

    model_config = ConfigDict(
        extra="forbid", strict=True, ser_json_bytes="base64", val_json_bytes="base64"
    )

    name: str
    born: datetime
    scan: bytes


class OpenFish(BaseModel):
    model_config = ConfigDict(extra="allow")

    name: str


class Colour(Enum):
    RED = "red"
    BLUE = "blue"


class Level(IntEnum):
    LOW = 1
    HIGH = 2


class Mode(StrEnum):
    ON = "on"


class Mixed(Enum):
    TEXT = "text"
    NUMBER = 1


def serializer_of(cls: type[T]) -> DataclassJsonMessageSerializer[T]:
    return DataclassJsonMessageSerializer(cls)


def round_trip(message: T) -> T:
    serializer = serializer_of(type(message))
    return serializer.deserialize(serializer.serialize(message))


def message_of(annotation: Any) -> type[Any]:
    """A message class with one field of a type."""
    return dataclasses.make_dataclass("Message", [("value", annotation)])


def is_same(left: Any, right: Any) -> bool:
    """Equal, and of the same classes all the way down."""
    if type(left) is not type(right):
        return False
    if dataclasses.is_dataclass(left) and not isinstance(left, type):
        names = [each.name for each in dataclasses.fields(left)]
        return all(is_same(getattr(left, name), getattr(right, name)) for name in names)
    if isinstance(left, dict):
        return left.keys() == right.keys() and all(is_same(left[key], right[key]) for key in left)
    if isinstance(left, list | tuple):
        return len(left) == len(right) and all(map(is_same, left, right))
    return bool(left == right)


NAMES = st.text(max_size=5)
STRUCTURED: dict[Any, st.SearchStrategy[Any]] = {
    Cat: st.builds(Cat, NAMES, st.integers()),
    Dog: st.builds(Dog, NAMES, st.integers()),
    Bird: st.builds(Bird, name=NAMES, age=st.integers()),
    StrictFish: st.builds(StrictFish, name=NAMES, born=st.datetimes(), scan=st.binary(max_size=4)),
    OpenFish: st.builds(OpenFish, name=NAMES, extra=NAMES),
}
LEAVES: dict[Any, st.SearchStrategy[Any]] = {
    str: st.text(max_size=5),
    int: st.integers(),
    float: st.floats(allow_nan=False),
    bool: st.booleans(),
    None: st.none(),
    bytes: st.binary(max_size=5),
    datetime: st.datetimes(timezones=st.sampled_from([None, UTC])),
    date: st.dates(),
    time: st.times(),
    timedelta: st.timedeltas(),
    UUID: st.uuids(),
    Decimal: st.decimals(allow_nan=False, allow_infinity=False),
    Colour: st.sampled_from(Colour),
    Level: st.sampled_from(Level),
    Mode: st.sampled_from(Mode),
    Literal["a", 3]: st.sampled_from(["a", 3]),
    **STRUCTURED,
}
KEYS = [str, int, bytes, datetime, date, UUID, Colour, Level, Mode, Decimal]

Typed = tuple[Any, st.SearchStrategy[Any]]
"""A type with the values it has."""


def union_of(members: list[Typed]) -> Typed:
    annotation, values = members[0]
    for other, more in members[1:]:
        annotation, values = annotation | other, values | more
    return annotation, values


def list_of(typed: Typed) -> Typed:
    annotation, values = typed
    return list.__class_getitem__(annotation), st.lists(values, max_size=2)


def tuple_of(typed: Typed) -> Typed:
    annotation, values = typed
    return tuple.__class_getitem__((annotation, int)), st.tuples(values, st.integers())


def dict_of(key: Any, typed: Typed) -> Typed:
    annotation, values = typed
    keys = LEAVES[key]
    return dict.__class_getitem__((key, annotation)), st.dictionaries(keys, values, max_size=2)


def container_of(inner: st.SearchStrategy[Typed]) -> st.SearchStrategy[Typed]:
    members = inner.filter(lambda typed: typed[0] is not None)
    return st.one_of(
        inner.map(list_of),
        inner.map(tuple_of),
        st.builds(dict_of, st.sampled_from(KEYS), inner),
        st.lists(members, min_size=2, max_size=3).map(union_of),
    )


TYPES = st.recursive(st.sampled_from(list(LEAVES.items())), container_of, max_leaves=6)


@given(st.data())
def test_what_is_registered_comes_back_whatever_its_types(data: st.DataObject) -> None:
    """A class of any field type is refused at once, or every value of it survives the journey."""
    annotation, values = data.draw(TYPES)
    try:
        serializer = serializer_of(message_of(annotation))
    except InvalidMessage:
        return
    message = serializer.cls(data.draw(values))

    assert is_same(serializer.deserialize(serializer.serialize(message)), message)


@dataclass
class Household:
    """Every way in which structured values stand in a message."""

    head: Cat | Dog
    others: list[Cat | Dog | Bird | StrictFish | OpenFish | str | None] = field(
        default_factory=list
    )
    by_name: dict[str, Cat | Dog] = field(default_factory=dict)
    pairs: list[tuple[Cat | Bird, Dog | None]] = field(default_factory=list)
    either: Cat | dict[str, int] | None = None


ANIMALS = st.one_of(STRUCTURED[Cat], STRUCTURED[Dog])


@given(
    st.builds(
        Household,
        head=ANIMALS,
        others=st.lists(st.one_of(*STRUCTURED.values(), NAMES, st.none()), max_size=4),
        by_name=st.dictionaries(NAMES, ANIMALS, max_size=3),
        pairs=st.lists(
            st.tuples(STRUCTURED[Cat] | STRUCTURED[Bird], STRUCTURED[Dog] | st.none()), max_size=2
        ),
        either=STRUCTURED[Cat] | st.dictionaries(NAMES, st.integers(), max_size=2) | st.none(),
    )
)
def test_values_of_equal_shape_keep_their_class(household: Household) -> None:
    """In a union of structured classes each value comes back as its own class."""
    assert is_same(round_trip(household), household)


def test_only_ambiguous_values_carry_a_tag() -> None:
    """The class is named beside the fields where JSON alone does not tell it, and nowhere else."""

    @dataclass
    class Message:
        certain: Cat
        maybe: Cat | None
        with_text: Cat | str
        ambiguous: Cat | Dog
        with_dict: Cat | dict[str, int]

    cat = Cat("Tom", 3)
    written = json.loads(serializer_of(Message).serialize(Message(cat, cat, cat, cat, cat)))

    plain = {"name": "Tom", "age": 3}
    tagged = {"$type": "Cat", **plain}
    assert written == {
        "certain": plain,
        "maybe": plain,
        "with_text": plain,
        "ambiguous": tagged,
        "with_dict": tagged,
    }


@dataclass
class Flat:
    """What AutoGen's own serializer takes."""

    text: str
    number: int
    ratio: float
    flags: list[bool]
    table: dict[str, Any]


@given(
    st.builds(
        Flat,
        text=st.text(),
        number=st.integers(),
        ratio=st.floats(allow_nan=False),
        flags=st.lists(st.booleans()),
        table=st.dictionaries(st.text(), st.integers() | st.text() | st.none()),
    )
)
def test_flat_classes_are_written_as_autogen_writes_and_reads_them(message: Flat) -> None:
    """Without unions the JSON is that of ``dataclasses.asdict``, in both directions."""
    serializer = serializer_of(Flat)

    assert json.loads(serializer.serialize(message)) == dataclasses.asdict(message)
    autogen = json.dumps(dataclasses.asdict(message)).encode()
    assert serializer.deserialize(autogen) == message


def test_nested_classes_are_plain_objects() -> None:
    """Nested dataclasses and models are written field by field, too."""

    @dataclass
    class Message:
        cats: list[Cat]
        bird: Bird

    message = Message([Cat("Tom")], Bird(name="Tweety"))

    written = json.loads(serializer_of(Message).serialize(message))
    assert written == {
        "cats": [{"name": "Tom", "age": 0}],
        "bird": {"name": "Tweety", "age": 0},
    }
    assert round_trip(message) == message


@pytest.mark.parametrize("annotation", [float, float | str])
@pytest.mark.parametrize("value", [math.inf, -math.inf, math.nan])
def test_every_float_travels(annotation: Any, value: float) -> None:
    """NaN and the infinities are written as Python's json writes them, in unions too."""
    message = message_of(annotation)(value)

    assert is_same(round_trip(message), message) or math.isnan(round_trip(message).value)
    written = json.loads(serializer_of(type(message)).serialize(message))
    assert str(written["value"]) == str(value)


@pytest.mark.parametrize(
    ("annotation", "reason"),
    [
        (datetime | str, "datetime and str are both written as JSON string"),
        (str | UUID, "str and uuid are both written as JSON string"),
        (Colour | str, "Colour and str are both written as JSON string"),
        (Level | int, "Level and int are both written as JSON number"),
        (Path | str, "could not be told apart"),
        (list[int] | tuple[int, int], "list and tuple are both written as JSON array"),
        (list[Cat] | list[Dog], "list and list are both written as JSON array"),
        (dict[str, int] | dict[str, str], "dict and dict are both written as JSON object"),
        (RootModel[str] | str, "could not be told apart"),
        (Cat | dataclasses.make_dataclass("Cat", []), "two of its classes are named Cat"),
    ],
)
def test_unions_that_would_not_come_back_are_refused(annotation: Any, reason: str) -> None:
    """Members of a union that JSON cannot tell apart are an error that names field and reason."""
    with pytest.raises(InvalidMessage, match=rf"Message\.value cannot be in a message: .*{reason}"):
        serializer_of(message_of(annotation))


@pytest.mark.parametrize(
    "key", [int | str, int | None, tuple[int, int], Mixed, Literal["a", 3], Cat]
)
def test_keys_that_would_not_come_back_are_refused(key: Any) -> None:
    """Keys of a dict are text in JSON; types that cannot be read from it are an error."""
    with pytest.raises(InvalidMessage, match="keys of type"):
        serializer_of(message_of(dict[key, int]))


def test_a_subclass_in_a_field_of_its_base_is_refused() -> None:
    """A nested value of another class than its field names is not cut down to that class."""

    @dataclass
    class Message:
        pet: Dog

    with pytest.raises(InvalidMessage, match="expected exactly a Dog, got a Puppy"):
        serializer_of(Message).serialize(Message(Puppy("Rex")))


@pytest.mark.parametrize("pet", [Puppy("Rex"), None, "Rex", {"name": "Rex"}])
def test_what_is_no_member_of_a_union_is_refused(pet: Any) -> None:
    """A value that has none of a union's classes is an error of its sender."""

    @dataclass
    class Message:
        pet: Cat | Dog

    with pytest.raises(InvalidMessage, match="this Message cannot be written"):
        serializer_of(Message).serialize(Message(pet))


@pytest.mark.parametrize("wrong", [Cat(3), Cat("Tom", "old")])  # type: ignore[arg-type]  # the point
def test_a_field_of_the_wrong_type_is_its_senders_error(wrong: Cat) -> None:
    """What the annotations do not say is refused before it is sent, without telling the value."""
    with pytest.raises(InvalidMessage, match=r"Expected `(str|int)`") as caught:
        serializer_of(Cat).serialize(wrong)

    assert "old" not in str(caught.value)


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        (b"{}", "name: Field required"),
        (b'{"name": 3}', "name: Input should be a valid string"),
        (b'{"name": "Tom"', "Invalid JSON"),
        (b"[]", "Input should be an object"),
        (b"\xff", "Invalid JSON"),
    ],
)
def test_a_payload_that_does_not_fit_names_type_and_reason(payload: bytes, reason: str) -> None:
    """A bad payload is an InvalidMessage that says what is wrong where."""
    with pytest.raises(InvalidMessage, match=f"this is no valid Cat: {reason}"):
        serializer_of(Cat).deserialize(payload)


def test_reasons_are_short() -> None:
    """However much is wrong with a payload, and however long it is, the error stays readable."""

    @dataclass
    class Message:
        numbers: list[int]

    payload = json.dumps({"numbers": ["x" * 1000] * 1000}).encode()

    with pytest.raises(InvalidMessage) as caught:
        serializer_of(Message).deserialize(payload)
    assert len(str(caught.value)) < 400
    assert "xxx" not in str(caught.value)


def test_unknown_fields_are_ignored() -> None:
    """A receiver may be older than the sender: fields that it does not know do no harm."""
    assert serializer_of(Cat).deserialize(b'{"name": "Tom", "lives": 9}') == Cat("Tom")


def test_a_missing_field_has_its_default() -> None:
    """A sender may be older than the receiver: new fields with a default may be missing."""
    assert serializer_of(Cat).deserialize(b'{"name": "Tom"}') == Cat("Tom", 0)


def test_a_default_of_none_makes_a_field_optional() -> None:
    """``text: str = None`` is common and means what it says."""

    @dataclass
    class Message:
        text: str = None  # type: ignore[assignment]  # the point
        pet: Cat = None  # type: ignore[assignment]  # the point

    assert round_trip(Message()) == Message()
    assert round_trip(Message("a", Cat("Tom"))) == Message("a", Cat("Tom"))


def test_fields_outside_the_constructor_travel() -> None:
    """What ``__init__`` does not take, and ``__post_init__`` sets, is what the sender had."""

    @dataclass(frozen=True, slots=True)
    class Message:
        number: int
        tries: int = field(init=False, default=0)
        pets: list[Cat | Dog] = field(init=False)

        def __post_init__(self) -> None:
            object.__setattr__(self, "pets", [])

    message = Message(1)
    object.__setattr__(message, "tries", 3)
    message.pets.append(Dog("Rex"))

    assert is_same(round_trip(message), message)


def test_post_init_runs_on_the_receiver() -> None:
    """What is no field, but set by ``__post_init__``, is there after the journey."""

    @dataclass
    class Message:
        number: int

        def __post_init__(self) -> None:
            self.twice = self.number * 2

    assert round_trip(Message(2)).twice == 4


def test_a_constructor_written_by_hand_is_called() -> None:
    """Its checks hold on the receiver, and what it sets is there."""

    @dataclass(init=False)
    class Even:
        number: int

        def __init__(self, number: int) -> None:
            if number % 2:
                msg = "odd"
                raise ValueError(msg)
            self.number = number
            self.half = number // 2

    @dataclass
    class Message:
        even: Even
        more: list[Even | Cat]

    there = round_trip(Message(Even(4), [Even(2), Cat("Tom")]))
    assert (there.even.half, there.more) == (2, [Even(2), Cat("Tom")])
    with pytest.raises(InvalidMessage, match="even: Value error, odd"):
        serializer_of(Message).deserialize(b'{"even": {"number": 3}, "more": []}')


def test_addresses_travel_and_keep_their_rules() -> None:
    """Agent ids and topics may be fields; a bad one in a payload is refused."""

    @dataclass
    class Message:
        agent: AgentId
        topic: TopicId | None

    message = Message(AgentId("clerk", "a/b"), TopicId("orders", "7"))

    assert is_same(round_trip(message), message)
    with pytest.raises(InvalidMessage, match="invalid agent type"):
        serializer_of(Message).deserialize(b'{"agent": {"type": "/", "key": "a"}, "topic": null}')


@dataclass
class Tree:
    value: int
    children: list[Tree | Cat] = field(default_factory=list)
    parent: Tree | None = None
    depth: int = field(init=False, default=0)


def test_recursive_classes_travel() -> None:
    """A class may have fields of itself, in unions too."""
    tree = Tree(1, [Tree(2), Cat("Tom")], Tree(0))
    tree.depth = 5

    assert is_same(round_trip(tree), tree)


@dataclass
class Box(Generic[T]):
    content: T


@dataclass
class CatBox(Box[Cat]):
    pass


def test_parametrised_classes_travel_in_fields() -> None:
    """A field says what a generic class holds."""

    @dataclass
    class Message:
        cat: Box[Cat]
        either: Box[Cat | Dog]

    message = Message(Box(Cat("Tom")), Box(Dog("Rex")))

    assert is_same(round_trip(message), message)


@pytest.mark.parametrize("cls", [Box, CatBox, message_of(CatBox)])
def test_generic_classes_are_refused_where_nothing_says_what_they_hold(cls: type[Any]) -> None:
    """An instance does not know its type parameters, so its content would lose its class."""
    with pytest.raises(InvalidMessage, match="does not know what ~T is, the type of content"):
        serializer_of(cls)


def test_other_containers_travel() -> None:
    """Sets, deques, abstract sequences and mappings, paths: as their types say."""

    @dataclass
    class Message:
        sets: tuple[set[int], frozenset[Colour]]
        queue: deque[Cat | Dog]
        sequence: Sequence[Cat | Dog]
        mapping: Mapping[UUID, Cat | Dog]
        path: Path

    message = Message(
        ({1, 2}, frozenset([Colour.RED])),
        deque([Cat("Tom"), Dog("Rex")]),
        [Dog("Rex"), Cat("Tom")],
        {UUID(int=7): Dog("Rex")},
        Path("/etc"),
    )

    assert round_trip(message) == message


def test_what_only_the_constructor_knows_is_refused() -> None:
    """An InitVar without default is not kept by the instance, so nobody could build it again."""

    @dataclass
    class Message:
        number: int
        secret: InitVar[int]

    with pytest.raises(InvalidMessage, match="InitVar secret has no default"):
        serializer_of(Message)


def test_a_type_that_cannot_travel_names_its_class() -> None:
    """A field of some arbitrary class is an error at registration."""
    with pytest.raises(InvalidMessage, match=r"Message cannot be a message: .*wrapper_descriptor"):
        serializer_of(message_of(type(object.__str__)))


def test_an_undefined_name_is_told() -> None:
    """A field annotated with what does not exist is an error that quotes the name."""

    @dataclass
    class Message:
        value: Nowhere  # type: ignore[name-defined]  # noqa: F821 (the point)

    with pytest.raises(InvalidMessage, match=r"'?Nowhere'? is not defined"):
        serializer_of(Message)
