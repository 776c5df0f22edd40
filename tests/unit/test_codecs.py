import struct
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from enum import Enum, IntEnum
from typing import Any, Generic, NotRequired, TypedDict, TypeVar
from uuid import UUID

import msgspec
import pydantic
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiostore.codecs import codec_for
from aiostore.errors import (
    ConfigurationError,
    CorruptRecordError,
    InvalidValueError,
    TooLargeError,
)
from aiostore.limits import PORTABLE, UNLIMITED

T = TypeVar("T")

TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXT,
    lambda inner: st.lists(inner) | st.dictionaries(TEXT, inner),
    max_leaves=20,
)


class Level(IntEnum):
    LOW = 1


class Colour(Enum):
    RED = "red"


@dataclass
class Address:
    town: str


@dataclass
class User:
    name: str
    age: int = 0
    addresses: list[Address] = field(default_factory=list)


@dataclass
class Admin(User):
    rights: tuple[str, ...] = ()


@dataclass
class Tagged:
    labels: frozenset[str] = frozenset()
    pair: tuple[int, str] = (1, "a")
    born: datetime | None = None
    _hidden: int = 0


@dataclass(eq=False)
class Faceless:
    name: str


@dataclass
class Holder:
    one: Faceless
    many: list[int]


@dataclass
class Box(Generic[T]):
    content: T


class Point(msgspec.Struct):
    x: float
    y: float = 0.0


class Named(msgspec.Struct, rename="camel", tag=True, omit_defaults=True):
    first_name: str
    nick_name: str | None = None


class Typed(msgspec.Struct):
    id: UUID
    price: Decimal
    at: datetime
    lasts: timedelta
    level: Level
    colour: Colour
    data: bytes
    by_number: dict[int, str]


class Movie(TypedDict):
    title: str
    year: int
    rating: NotRequired[float]


class Event(TypedDict):
    at: datetime


class Model(pydantic.BaseModel):
    name: str
    price: Decimal = Decimal(0)
    tags: set[str] = set()
    parts: tuple[int, ...] = ()
    first_name: str = pydantic.Field(default="", alias="firstName")
    _seen: int = pydantic.PrivateAttr(0)


class SubModel(Model):
    extra: int = 0


class OneWay(pydantic.BaseModel):
    count: int = pydantic.Field(0, validation_alias="in", serialization_alias="out")


class Login(pydantic.BaseModel):
    password: pydantic.SecretStr


class Ratio(pydantic.BaseModel):
    value: float


class Opaque(pydantic.BaseModel):
    inside: Any


def round_trip(type_: type[T], value: T) -> T:
    """What comes back of a value."""
    codec = codec_for(type_)
    return codec.decode(codec.encode(value, PORTABLE))


def identical(one: object, other: object) -> bool:
    """Whether two JSON values are the same to the bit: 1 is not True, nor 1.0; 0.0 is not -0.0."""
    if type(one) is not type(other):
        return False
    if isinstance(one, dict) and isinstance(other, dict):
        return list(one) == list(other) and all(identical(one[name], other[name]) for name in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(identical, one, other))
    if isinstance(one, float):
        return struct.pack("d", one) == struct.pack("d", other)
    return one == other


@given(st.dictionaries(TEXT, JSON))
def test_json_comes_back_exactly(value: dict[str, Any]) -> None:
    """Types, the order of names, and every bit of a float are as they went."""
    assert identical(round_trip(dict, value), value)


@pytest.mark.parametrize("value", [1.0, -0.0, 1e16, 1e22, 5e-324, 2**63 - 1, -(2**63), True, 1, 0])
def test_numbers_keep_their_type(value: object) -> None:
    """1.0 stays a float and True a bool; no digit of a large integer is lost."""
    assert identical(round_trip(dict, {"n": value}), {"n": value})


@given(st.dictionaries(TEXT, JSON))
def test_a_body_is_compact_text(value: dict[str, Any]) -> None:
    """Equal values have equal bodies, on one line without a space between names and values."""
    codec = codec_for(dict)
    body = codec.encode(value, PORTABLE)
    assert codec.encode(codec.decode(body), PORTABLE) == body
    assert msgspec.json.format(body, indent=-1) == body


def test_a_value_is_new_at_every_decoding() -> None:
    """Changing what was read does not change what is read next."""
    codec = codec_for(dict)
    body = codec.encode({"a": []}, PORTABLE)
    codec.decode(body)["a"].append(1)
    assert codec.decode(body) == {"a": []}


@pytest.mark.parametrize(
    "value",
    [
        User("a", 1, [Address("b")]),
        Tagged(frozenset("abcdefgh"), (2, "b"), datetime(2024, 1, 1), _hidden=5),  # noqa: DTZ001
        Tagged(born=datetime(2024, 1, 1, 12, 0, 0, 1, tzinfo=timezone(timedelta(hours=2)))),
        Point(1.5),
        Named("Ada"),
        Named("Ada", "A"),
        Typed(
            UUID(int=1),
            Decimal("1.10"),
            datetime(2024, 1, 1, tzinfo=UTC),
            timedelta(days=1, microseconds=1),
            Level.LOW,
            Colour.RED,
            b"\0\xff",
            {1: "a", -2: "b"},
        ),
        Model(name="a"),
        Model(name="a", price=Decimal("1.10"), tags=set("abcdefgh"), parts=(1, 2), firstName="A"),
        pydantic.RootModel[dict[str, int]]({"a": 1}),
    ],
    ids=lambda value: type(value).__name__,
)
def test_typed_values_come_back_equal(value: object) -> None:
    """Fields of every kind that the type's library knows come back as they went."""
    restored = round_trip(type(value), value)
    assert restored == value
    assert type(restored) is type(value)


@pytest.mark.parametrize("movie", [Movie(title="M", year=1931), Movie(title="M", year=1, rating=1)])
def test_typed_dicts_come_back_equal(movie: Movie) -> None:
    """A TypedDict's value is a dict; an integer may stand for a float."""
    assert round_trip(Movie, movie) == movie


def test_a_private_attribute_is_no_part_of_a_model() -> None:
    """It is not stored, and does not stand in the way of storing the rest."""
    model = Model(name="a")
    model._seen = 5
    assert round_trip(Model, model).name == "a"


def test_names_in_the_body_are_the_types_own() -> None:
    """Renamed fields and aliases are stored under the names under which they are read."""
    assert codec_for(Named).encode(Named("Ada"), PORTABLE) == '{"type":"Named","firstName":"Ada"}'
    body = codec_for(Model).encode(Model(name="a", firstName="A"), PORTABLE)
    assert msgspec.json.decode(body)["firstName"] == "A"


@pytest.mark.parametrize(
    ("type_", "value"),
    [
        pytest.param(User, Admin("a", rights=("all",)), id="dataclass"),
        pytest.param(Model, SubModel(name="a", extra=1), id="pydantic"),
        pytest.param(User, {"name": "a"}, id="dict for a dataclass"),
        pytest.param(Point, User("a"), id="another type"),
        pytest.param(Point, Point, id="the type itself"),
        pytest.param(Model, None, id="None"),
    ],
)
def test_only_the_type_itself_is_taken(type_: type[Any], value: object) -> None:
    """A subclass would come back without what it adds, so it is refused like any other type."""
    with pytest.raises(InvalidValueError, match=f"documents are {type_.__name__}, not"):
        codec_for(type_).encode(value, PORTABLE)


@pytest.mark.parametrize(
    ("type_", "value"),
    [
        pytest.param(User, User("a", age=True), id="bool for int"),
        pytest.param(User, User("a", "1"), id="str for int"),  # type: ignore[arg-type]
        pytest.param(User, User("a", 1.5), id="float for int"),  # type: ignore[arg-type]
        pytest.param(Point, Point(x=True), id="bool for float"),
        pytest.param(Movie, {"title": "M"}, id="missing name"),
        pytest.param(Movie, {"title": "M", "year": True}, id="bool for int in a TypedDict"),
        pytest.param(Model, Model.model_construct(name=5), id="unvalidated model"),
    ],
)
def test_a_value_that_could_not_be_read_again_is_refused(type_: type[Any], value: object) -> None:
    """A wrong type of a field is told at the write, not at the next read."""
    with pytest.raises(InvalidValueError, match="could not be read again as"):
        codec_for(type_).encode(value, PORTABLE)


@pytest.mark.parametrize(
    ("type_", "value"),
    [
        pytest.param(Movie, {"title": "M", "year": 1, "extra": 1}, id="unknown name in TypedDict"),
        pytest.param(Event, {"at": "2024-01-01T00:00:00Z"}, id="text that reads as a datetime"),
        pytest.param(Box, Box(datetime(2024, 1, 1, tzinfo=UTC)), id="datetime in an untyped field"),
        pytest.param(Box, Box((1, 2)), id="tuple in an untyped field"),
        pytest.param(OneWay, OneWay.model_validate({"in": 5}), id="aliases that differ"),
        pytest.param(
            Login, Login(password=pydantic.SecretStr("x")), id="secret shown as asterisks"
        ),
    ],
)
def test_a_value_that_would_change_is_refused(type_: type[Any], value: object) -> None:
    """What would be read again without an error, but as something else, is refused."""
    with pytest.raises(InvalidValueError, match="would come back as another"):
        codec_for(type_).encode(value, PORTABLE)


def test_types_without_equality_are_trusted() -> None:
    """With `eq=False`, at any depth, nothing can be compared, and nothing is refused for it."""
    assert round_trip(Faceless, Faceless("a")).name == "a"
    assert round_trip(Holder, Holder(Faceless("a"), [1])).one.name == "a"


@pytest.mark.parametrize(
    ("type_", "value", "reason"),
    [
        (Ratio, Ratio(value=float("nan")), "no JSON number"),
        (Point, Point(float("inf")), "no JSON number"),
        (Typed, Typed(*(None,) * 7, {}), "could not be read"),  # type: ignore[arg-type]
        (User, User("\0"), "NUL"),
        (Movie, Movie(title="\ud800", year=1), "surrogate"),
        (User, User("a", 2**63), "64 bits"),
        (Box, Box(1j), "cannot be encoded"),
        (Box, Box({1.5: object()}), "cannot be encoded"),
        (Opaque, Opaque(inside=object()), "cannot be encoded"),
        (
            pydantic.RootModel[list[int]],
            pydantic.RootModel[list[int]]([1]),
            "JSON object, not list",
        ),
    ],
)
def test_typed_values_keep_to_the_contract(type_: type[Any], value: object, reason: str) -> None:
    """Whatever its type, a value that not every store can keep is refused."""
    with pytest.raises(InvalidValueError, match=reason):
        codec_for(type_).encode(value, PORTABLE)


@pytest.mark.parametrize("type_", [Box, Opaque])
def test_a_typed_value_that_holds_itself_is_refused(type_: type[Any]) -> None:
    """Not followed until the stack is full."""
    inside: list[Any] = []
    inside.append(inside)
    value = Opaque(inside=inside) if type_ is Opaque else Box(inside)
    with pytest.raises(InvalidValueError):
        codec_for(type_).encode(value, UNLIMITED)


@pytest.mark.parametrize(
    ("type_", "value"),
    [
        (dict, {"title": "x" * 400_000}),
        (Movie, Movie(title="x" * 400_000, year=1)),
        (User, User("x" * 400_000)),
        (Model, Model(name="x" * 400_000)),
    ],
)
def test_large_values_are_refused(type_: type[Any], value: Any) -> None:
    """Over 350 KiB of encoded JSON, unless the limits are lifted."""
    codec = codec_for(type_)
    with pytest.raises(TooLargeError):
        codec.encode(value, PORTABLE)
    assert codec.decode(codec.encode(value, UNLIMITED)) == value


@pytest.mark.parametrize("type_", [dict, User, Point, Movie, Model])
@pytest.mark.parametrize(
    "body",
    ["", "{", "[]", "null", "[" * 100_000, '{"a":' * 100_000, '{"name":"\ud800"}', '{"x":1}{'],
    ids=lambda body: body[:10].encode("unicode_escape").decode(),
)
def test_a_damaged_body_is_told(type_: type[Any], body: str) -> None:
    """What is not JSON, or not a document of the type, is a `CorruptRecordError`."""
    with pytest.raises(CorruptRecordError, match="stored document"):
        codec_for(type_).decode(body)


@pytest.mark.parametrize("type_", [User, Point, Movie, Model])
def test_a_body_of_another_type_is_told(type_: type[Any]) -> None:
    """A document that does not fit the collection's type is a `CorruptRecordError`."""
    with pytest.raises(CorruptRecordError, match="does not fit"):
        codec_for(type_).decode('{"name":[],"x":[],"title":[]}')


@dataclass
class Unresolved:
    other: "NoSuchType"  # type: ignore[name-defined]  # noqa: F821


@pytest.mark.parametrize(
    "type_", [int, list, str, object, None, dict[str, int], Box[int], User("a"), "User", Unresolved]
)
def test_other_types_are_refused(type_: Any) -> None:
    """A collection of what is no document cannot be made."""
    with pytest.raises(ConfigurationError, match="documents cannot be of the type"):
        codec_for(type_)
