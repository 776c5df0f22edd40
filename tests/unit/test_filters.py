import copy
import pickle
from collections.abc import Callable
from math import nan
from typing import Any

import msgspec
import pytest
from hypothesis import given

from aiostore.errors import InvalidValueError
from aiostore.filters import (
    And,
    Compare,
    Contains,
    Exists,
    F,
    Field,
    Filter,
    In,
    Not,
    Or,
    Order,
    Prefix,
    Text,
    described,
    is_filter,
    is_plain,
    kinds_of,
    matches,
    name_of,
    paths_of,
    place_of,
)
from aiostore.testing.strategies import filters

TRUE, FALSE = True, False  # compared by ==, which is the language here
UNTYPED: Any = F  # for what a type check refuses already
DOCUMENT: dict[str, Any] = {
    "age": 18,
    "height": 1.5,
    "name": "Straße",
    "active": True,
    "nothing": None,
    "tags": ["a", 1, 2.0, True, None, ["deep"]],
    "address": {"city": "Rome", "": {"$": "odd"}},
    "a.b": 1,
}


def answers(where: Filter) -> bool:
    """Whether the document matches; a filter and its negation never agree."""
    answer = matches(where, DOCUMENT)
    assert matches(~where, DOCUMENT) is not answer
    return answer


@pytest.mark.parametrize(
    ("where", "node"),
    [
        (F.age == 1, Compare(("age",), "==", 1)),
        (F.age != 1, Compare(("age",), "!=", 1)),
        (F.age < 1, Compare(("age",), "<", 1)),
        (F.age <= 1.5, Compare(("age",), "<=", 1.5)),
        (F.age > "a", Compare(("age",), ">", "a")),
        (F.age >= 1, Compare(("age",), ">=", 1)),
        (1 < F.age, Compare(("age",), ">", 1)),  # noqa: SIM300  # that is the case
        (F.age == None, Compare(("age",), "==", None)),  # noqa: E711  # it makes a filter
        (F.age != TRUE, Compare(("age",), "!=", TRUE)),
        (F.age.in_(one for one in (1, "a", None)), In(("age",), (1, "a", None))),
        (F.age.prefix("a"), Prefix(("age",), "a")),
        (F.age.contains(None), Contains(("age",), None)),
        (F.age.exists(), Exists(("age",))),
        (F.text("smith"), Text("smith")),
        (F.address.city.exists(), Exists(("address", "city"))),
        (F["odd name"]["in_"].exists(), Exists(("odd name", "in_"))),
        (F[""].exists(), Exists(("",))),
        (~F.age.exists(), Not(Exists(("age",)))),
        (F.a.exists() & F.b.exists(), And((Exists(("a",)), Exists(("b",))))),
        (F.a.exists() | F.b.exists(), Or((Exists(("a",)), Exists(("b",))))),
    ],
)
def test_fields_make_filters(where: Filter, node: Filter) -> None:
    """Each operator and method its own; the field may stand on either side."""
    assert is_filter(where)
    assert msgspec.json.encode(where) == msgspec.json.encode(node)  # where 1 is not True


def test_chains_of_and_and_of_or_stay_flat() -> None:
    """However many; a chain of one kind inside of the other stays whole."""
    a, b, c, d = F.a.exists(), F.b.exists(), F.c.exists(), F.d.exists()
    assert a & b & c & d == And((a, b, c, d)) == (a & b) & (c & d)
    assert a | b | c | d == Or((a, b, c, d)) == (a | b) | (c | d)
    assert (a & b) | (c & d) == Or((And((a, b)), And((c, d))))
    assert a & ~(b & c) == And((a, Not(And((b, c)))))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: UNTYPED.age != None, r"!= None matches nothing: write ~\(field == None\)"),  # noqa: E711  # likewise
        (lambda: UNTYPED.age < None, "None has no order: compare by == alone"),
        (lambda: UNTYPED.age >= True, "True has no order: compare by == alone"),
        (lambda: UNTYPED.age == [1], "list is not a JSON type"),
        (lambda: UNTYPED.age == 2**63, "does not fit 64 bits"),
        (lambda: UNTYPED.age.in_([nan]), "nan is no JSON number"),
        (lambda: UNTYPED.age == "\0", "NUL"),
        (lambda: UNTYPED.age == "\ud800", "lone surrogate"),
        (lambda: UNTYPED.age == UNTYPED.height, "Field is not a JSON type"),
        (lambda: UNTYPED.age.in_("ab"), "several values, as a list"),
        (lambda: UNTYPED.age.in_([1, {}]), "dict is not a JSON type"),
        (lambda: UNTYPED.age.prefix(1), "a text is asked for, not int"),
        (lambda: UNTYPED.age.prefix("\0"), "NUL"),
        (lambda: UNTYPED.age.contains(b"a"), "bytes is not a JSON type"),
        (lambda: UNTYPED.text(None), "a text is asked for, not NoneType"),
        (lambda: UNTYPED["a\0"], "NUL"),
        (lambda: UNTYPED[1], "a field's name is a str, not int"),
        (lambda: UNTYPED.tags[0], "a field's name is a str, not int"),
        (lambda: list(UNTYPED.tags), "a field's name is a str, not int"),
        (lambda: bool(UNTYPED.age), r"F\['age'\] is a field and no filter"),
        (
            lambda: UNTYPED.a.exists() and UNTYPED.b.exists(),
            "combine filters by & | ~ in parentheses",
        ),
        (lambda: 1 < UNTYPED.age < 3, "nor by a chain of comparisons"),
        (lambda: UNTYPED.age in [1, 2], "a filter has no truth of its own"),
        (lambda: UNTYPED.a.exists() & UNTYPED.b, r"F\['b'\] is no filter: compare a field of F"),
        (lambda: UNTYPED.a.exists() | True, "True is no filter"),
    ],
)
def test_what_makes_no_filter_is_refused(make: Callable[[], object], message: str) -> None:
    """At once, where it is written, with what to write instead."""
    with pytest.raises(InvalidValueError, match=message):
        make()


@pytest.mark.parametrize(
    "node",
    [
        '{"type":"compare","path":["a"],"operator":"<","value":null}',
        '{"type":"compare","path":["a"],"operator":">=","value":true}',
        '{"type":"compare","path":["a"],"operator":"!=","value":null}',
        '{"type":"compare","path":["a"],"operator":"==","value":9223372036854775808}',
        '{"type":"compare","path":["a\\u0000"],"operator":"==","value":1}',
        '{"type":"in","path":["a"],"values":[1,"\\u0000"]}',
        '{"type":"prefix","path":["a"],"text":"\\u0000"}',
        '{"type":"contains","path":["a"],"item":"\\u0000"}',
        '{"type":"exists","path":["a\\u0000"]}',
        '{"type":"text","text":"\\u0000"}',
    ],
)
def test_what_makes_no_filter_is_refused_when_decoded(node: str) -> None:
    """Nothing comes from outside that `F` would not make."""
    with pytest.raises(InvalidValueError):
        msgspec.json.decode(node, type=Filter)


@pytest.mark.parametrize("name", ["__class_getitem__", "__set_name__", "__no_such__"])
def test_names_of_pythons_own_are_no_fields(name: str) -> None:
    """As attributes; in brackets they are fields like others."""
    for one in (F, F.age):
        assert not hasattr(one, name)
        assert is_filter(one[name].exists())


def test_fields_are_no_keys() -> None:
    """Their `==` makes a filter, so that they cannot be looked up."""
    with pytest.raises(TypeError, match="unhashable"):
        hash(F.age)


@pytest.mark.parametrize(
    "again",
    [copy.copy, copy.deepcopy, lambda one: pickle.loads(pickle.dumps(one))],  # noqa: S301  # our own
)
def test_fields_and_filters_can_be_copied(again: Callable[[Any], Any]) -> None:
    """And pickled: they come back as they went."""
    field = again(F.address.city)
    assert type(field) is Field
    assert repr(field) == "F['address']['city']"
    assert repr(again(F).age) == "F['age']"
    where = (F.age == 1) | ~F.text("a")
    assert again(where) == where


@given(filters())
def test_filters_come_back_from_json(where: Filter) -> None:
    """Of every kind, with each value of the type that it had."""
    encoded = msgspec.json.encode(where)
    decoded = msgspec.json.decode(encoded, type=Filter)
    assert decoded == where
    assert msgspec.json.encode(decoded) == encoded


@pytest.mark.parametrize(
    "where",
    [
        F.age == 18,
        F.age == 18.0,
        F.age != 17.5,
        F.age < 18.5,
        F.age <= 18,
        F.age > -1e308,
        F.age >= 18,
        F.height == 1.5,
        F.height < 2,
        F.name == "Straße",
        F.name != "strasse",
        F.name < "Straßf",
        F.name > "Strasse",
        F.name >= "",
        F.active == TRUE,
        F.active != FALSE,
        F.nothing == None,  # noqa: E711  # likewise
        F.age.in_(["18", None, 18.0]),
        F.nothing.in_([0, None]),
        F.active.in_([True]),
        F.name.prefix("Straß"),
        F.name.prefix(""),
        F.name.contains("aß"),
        F.name.contains(""),
        F.tags.contains("a"),
        F.tags.contains(1.0),
        F.tags.contains(2),
        F.tags.contains(TRUE),
        F.tags.contains(None),
        F.age.exists(),
        F.nothing.exists(),
        F.address.exists(),
        F.tags.exists(),
        F.address.city == "Rome",
        F.address[""]["$"] == "odd",
        F["a.b"] == 1,
        F.text("STRASSE"),
        F.text("straß"),
        F.text("rOM"),
        F.text("DEEP"),
        F.text(""),
        (F.age == 18) & (F.name == "Straße"),
        (F.age == 1) | (F.name == "Straße"),
        And(()),
        Exists(()),
    ],
    ids=described,
)
def test_what_matches(where: Filter) -> None:
    """Values of one type compare, at any depth of objects; texts are searched at any depth."""
    assert answers(where)


@pytest.mark.parametrize(
    "where",
    [
        F.age == 18.000000000000004,
        F.age == "18",
        F.age != "18",
        F.age != 18,
        F.age < 18,
        F.age > 18,
        F.age > "",
        F.age < "a",
        F.active == 1,
        F.active != 0,
        F.active > 0,
        F.active == "true",
        F.age == TRUE,
        F.nothing == 0,
        F.nothing == FALSE,
        F.nothing != 1,
        F.nothing != "a",
        F.nothing < 1,
        F.missing == None,  # noqa: E711  # likewise
        F.missing == 1,
        F.missing != 1,
        F.missing < 1,
        F.missing.in_([None, 1, ""]),
        F.missing.prefix(""),
        F.missing.contains(None),
        F.missing.exists(),
        F.name == "straße",
        F.name == "STRASSE",
        F.name > "Stra\U00010000",
        F.name.prefix("straß"),
        F.name.prefix("traße"),
        F.name.contains("ASS"),
        F.name.contains(1),
        F.age.prefix("1"),
        F.age.contains(1),
        F.age.contains("1"),
        F.age.in_([]),
        F.active.in_([1, "true", None]),
        F.tags == "a",
        F.tags != "z",
        F.tags.in_(["a"]),
        F.tags.prefix("a"),
        F.tags.contains("A"),
        F.tags.contains(""),
        F.tags.contains("deep"),
        F.tags.contains(FALSE),
        F.tags.contains(0),
        F.address == "Rome",
        F.address != "Rome",
        F.address.contains("city"),
        F.address.city.name.exists(),
        F.tags["0"].exists(),
        F.name["0"].exists(),
        F.a.b.exists(),
        F.text("city"),
        F.text("18"),
        F.text("true"),
        F.text("x"),
        (F.age == 18) & (F.name == "Rome"),
        (F.age == 1) | (F.name == "Rome"),
        Or(()),
    ],
    ids=described,
)
def test_what_does_not_match(where: Filter) -> None:
    """Another type, nothing there, another case of letters; names of fields are not searched."""
    assert not answers(where)


def test_integers_compare_exactly_with_floats() -> None:
    """All 64 bits count, though a float holds no more than 53 of them."""
    assert matches(F.a == 2**53 + 1, {"a": 2**53 + 1})
    assert not matches(F.a == 2**53 + 1, {"a": 2.0**53})
    assert matches(F.a > 2.0**53, {"a": 2**53 + 1})
    assert matches(F.a < 2.0**63, {"a": 2**63 - 1})
    assert matches(F.a == 0, {"a": -0.0})


def test_texts_compare_by_code_point() -> None:
    """Not by UTF-16, not by what looks alike."""
    assert matches(F.a > "\uffff", {"a": "\U00010000"})
    assert not matches(F.a == "é", {"a": "e\u0301"})
    assert matches(F.a < "a", {"a": "Z"})


@pytest.mark.parametrize(
    ("where", "text"),
    [
        (F.age == 18, "(F.age == 18)"),
        (F.age != 1.0, "(F.age != 1.0)"),
        (F.name < "a'b", """(F.name < "a'b")"""),
        (F.a.b == None, "(F.a.b == None)"),  # noqa: E711  # it makes a filter
        (F["a b"].c[""].exists(), "F['a b'].c[''].exists()"),
        (F["text"] == 1, "(F['text'] == 1)"),
        (F.a["in_"]["_path"].exists(), "F.a['in_']['_path'].exists()"),
        (F["class"]["__init__"].exists(), "F['class']['__init__'].exists()"),
        (F.age.in_((1, "a", None)), "F.age.in_([1, 'a', None])"),
        (F.name.prefix("a"), "F.name.prefix('a')"),
        (F.tags.contains(TRUE), "F.tags.contains(True)"),
        (F.text("smith"), "F.text('smith')"),
        (~(F.a == 1), "~(F.a == 1)"),
        (
            ~((F.a == 1) & F.b.exists() & (F.c.exists() | F.text("d"))),
            "~((F.a == 1) & F.b.exists() & (F.c.exists() | F.text('d')))",
        ),
        (Exists(()), "F.exists()"),
    ],
)
def test_filters_are_described(where: Filter, text: str) -> None:
    """As they would be written."""
    assert described(where) == text


@given(filters())
def test_what_is_described_makes_the_filter(where: Filter) -> None:
    """Written as it is described, it is the filter again."""
    again = eval(described(where), {"F": F})  # noqa: S307  # that is the promise
    assert matches(again, DOCUMENT) == matches(where, DOCUMENT)
    assert described(again) == described(where)


def test_kinds_of_a_filter() -> None:
    """All that it is made of, each once."""
    assert kinds_of(F.a == 1) == {"equal"}
    for other in (F.a != 1, F.a < 1, F.a <= 1, F.a > 1, F.a >= 1):
        assert kinds_of(other) == {"compare"}
    every = (F.a.in_([1]) | F.b.prefix("x")) & ~(F.c.contains(1) | F.d.exists()) & F.text("y")
    kinds = {"in", "prefix", "contains", "exists", "text", "and", "or", "not"}
    assert kinds_of(every) == kinds
    assert kinds_of(And(())) == {"and"}


def test_paths_of_a_filter() -> None:
    """The fields that it asks after, each once, at any depth."""
    assert paths_of(F.a.b == 1) == {("a", "b")}
    every = (F.a.in_([1]) | F.b.prefix("x")) & ~(F.c.contains(1) | F.a.exists()) & F.text("y")
    assert paths_of(every) == {("a",), ("b",), ("c",)}
    assert paths_of(F.text("y")) == paths_of(And(())) == set()


@pytest.mark.parametrize(
    ("name", "plain"),
    [
        ("a", True),
        ("_", True),
        ("A_1", True),
        ("x" * 64, True),
        ("x" * 65, False),
        ("", False),
        ("1", False),
        ("a.b", False),
        ("a-b", False),
        ("a\n", False),
        ("é", False),
        ("²", False),
        ("$", False),
        ('a"', False),
    ],
)
def test_plain_names(name: str, plain: bool) -> None:  # noqa: FBT001  # a case's answer
    """Letters, digits and `_`, no digit first, at most 64, whatever the filter is made of."""
    field = F.a[name]
    leaves: list[Filter] = [
        field == 1,
        field.in_([]),
        field.prefix("."),
        field.contains("."),
        field.exists(),
    ]
    for leaf in leaves:
        for where in (leaf, ~leaf, leaf & F.b.exists(), F.b.exists() | leaf):
            assert is_plain(where) is plain
    assert is_plain(F.text("."))


def test_places_rank_by_type_and_then_by_value() -> None:
    """Missing, null, booleans, numbers, texts, then arrays and objects, which are alike."""
    values: list[Any] = [None, False, True, -1e308, -1, -0.5, 0, 1, 1.5, 2**63 - 1]
    values += ["", "A", "a", "é", "\uffff", "\U00010000", []]
    documents: list[dict[str, Any]] = [{}, *({"a": {"b": value}} for value in values)]
    order = [F.a.b.asc()]
    places = [place_of(document, order) for document in documents]
    assert sorted(places) == places
    assert len({str(place) for place in places}) == len(places)
    alike = [place_of({"a": {"b": one}}, order) for one in ([], [1], {}, {"x": 1})]
    assert alike == alike[:1] * 4
    assert place_of({"a": 1}, order) == place_of({}, order)
    assert place_of({"a": {"b": 1}}, order) == place_of({"a": {"b": 1.0}}, order)
    assert place_of({"a": {"b": True}}, order) != place_of({"a": {"b": 1}}, order)


def test_a_place_has_a_rank_for_each_field() -> None:
    """In the order of the fields, whichever way they are sorted."""
    order = [F.a.desc(), F.b.asc()]
    assert order == [Order(("a",), descending=True), Order(("b",))]
    assert place_of({"a": "x", "b": 2}, order) == [(4, "x"), (3, 2)]
    assert place_of({"a": "x", "b": 2}, []) == []


def test_fields_show_their_path() -> None:
    """In brackets, which take every name; the document is `F`."""
    assert repr(F) == "F"
    assert repr(F.a["b c"]) == "F['a']['b c']"
    assert name_of(("a", "b c")) == "F.a['b c']"


@pytest.mark.parametrize("one", [F, F.age, None, "F.age == 1", {}, F.age.asc()])
def test_what_is_no_filter(one: object) -> None:
    """A field is none yet."""
    assert not is_filter(one)
