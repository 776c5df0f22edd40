"""What the machine stores and asks: strategies of documents and of queries, from small pools."""

import json
from collections.abc import Iterable
from typing import Any, NamedTuple

from hypothesis import strategies as st

from aiostore import F
from aiostore.testing.hostile import VALUES as HOSTILE
from aiostore.testing.machine.model import Entry
from aiostore.testing.questions import Path, Question, filter_of, holds, ordered

_NUMBERS: list[Any] = [
    *(0, 1, 2, -1, 2**53, 2**53 + 1, 2**63 - 1, -(2**63)),
    *(0.0, -0.0, 1.0, 1.5, -1e300, 5e-324, 2.0**53, 2.0**63),
]
_TEXTS: list[Any] = [
    *("", "a", "A", "ab", "b", "Smith", "smithy", "SMITH", "straße", "STRASSE", "é", "e\u0301"),
    *("1", "1.0", "null", "true", "%", "_", "a%", "a_", "*", "\\", "'", '"'),
    *("\uffff", "\U00010000"),
]
_PATHS: list[Path] = [
    *[("n",), ("t",), ("o",), ("o", "n"), ("o", "t"), ("l",)],
    *[("odd.name",), ("",), ("missing",)],
]
_FIELD = st.sampled_from(_PATHS)
_TEXT = st.sampled_from(_TEXTS)
_SCALAR = st.sampled_from([*_NUMBERS, *_TEXTS, True, False, None])
_NUMBER_OR_TEXT = st.sampled_from([*_NUMBERS, *_TEXTS])
_ANY_TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=8)

_TREES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | _ANY_TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_ANY_TEXT, inner, max_size=3),
    max_leaves=6,
)
_ASKED_FOR = st.fixed_dictionaries(
    {},
    optional={
        "n": _SCALAR,
        "t": _TEXT | _SCALAR,
        "o": st.fixed_dictionaries({}, optional={"n": _SCALAR, "t": _SCALAR}) | _SCALAR,
        "l": st.lists(_SCALAR, max_size=3),
        "odd.name": _SCALAR,
        "": _SCALAR,
    },
)
_DOCUMENTS = st.one_of(
    _ASKED_FOR,
    _ASKED_FOR,
    _ASKED_FOR,
    st.dictionaries(st.sampled_from(["n", "t", "o", "l"]), _TREES, max_size=3),
    st.sampled_from(HOSTILE),
)


@st.composite
def texts(draw: st.DrawFn) -> str:
    """Documents, as JSON; most have the fields that queries ask for."""
    # A composite has a short name. Hypothesis writes out the whole of any other strategy, often.
    return json.dumps(draw(_DOCUMENTS))


class By(NamedTuple):
    """One field to sort by.

    Attributes:
        spelled: as a user gives it.
        path: the field.
        descends: whether the largest comes first.
    """

    spelled: Any
    path: Path
    descends: bool


class Query(NamedTuple):
    """What `find` and the like are asked.

    Attributes:
        asked: see `aiostore.testing.questions`; None for everything.
        prefix: what the keys begin with.
        order: what to sort by.
    """

    asked: Question | None = None
    prefix: str = ""
    order: tuple[By, ...] = ()

    @property
    def arguments(self) -> dict[str, Any]:
        """What `find`, `page` and `explain` are given."""
        spelled = [by.spelled for by in self.order]
        return {
            "where": None if self.asked is None else filter_of(self.asked),
            "prefix": self.prefix,
            "order_by": spelled[0] if len(spelled) == 1 else spelled,
        }

    def picks(self, entry: Entry) -> bool:
        """Whether the entry is a part of the answer."""
        matches = self.asked is None or holds(self.asked, entry.value)
        return matches and entry.key.startswith(self.prefix)

    def answer(self, entries: Iterable[Entry]) -> list[Entry]:
        """Those of them that it picks, in its order."""
        return self.sorted({entry.key: entry for entry in entries if self.picks(entry)})

    def sorted(self, entries: dict[str, Entry]) -> list[Entry]:
        """All of them in its order, by the keys that they are given."""
        order = [(by.path, by.descends) for by in self.order]
        values = {key: entry.value for key, entry in entries.items()}
        return [entries[key] for key in ordered(values, order)]

    def after(self, last: Entry | None, entries: Iterable[Entry]) -> list[Entry]:
        """The part of the answer that sorts after the place where `last` stood."""
        found = {entry.key: entry for entry in entries if self.picks(entry)}
        if last is None:
            return self.sorted(found)
        # No key holds a NUL, so this one comes right after the key itself and before any longer.
        in_order = self.sorted({**found, last.key + "\0": last})
        place = max(index for index, entry in enumerate(in_order) if entry is last)
        return in_order[place + 1 :]


@st.composite
def queries(draw: st.DrawFn, prefixes: st.SearchStrategy[str]) -> Query:
    """Filters of all kinds or none, with or without a prefix and an order."""
    return Query(draw(_QUESTIONS), draw(prefixes), tuple(draw(_ORDERS)))


@st.composite
def orderings(draw: st.DrawFn) -> Query:
    """Everything, in any order; so that there is something to page through."""
    return Query(order=tuple(draw(_ORDERS)))


def _by(path: Path, *, descends: bool, short: bool) -> By:
    if short and all(path) and not any("." in name for name in path):
        return By("-" * descends + ".".join(path), path, descends)
    field: Any = F
    for name in path:
        field = field[name]
    return By(field.desc() if descends else field.asc(), path, descends)


_LEAVES = st.one_of(
    st.tuples(st.sampled_from(["==", "!="]), _FIELD, _SCALAR).filter(
        lambda question: question[0] == "==" or question[2] is not None
    ),
    st.tuples(st.sampled_from(["<", "<=", ">", ">="]), _FIELD, _NUMBER_OR_TEXT),
    st.tuples(st.just("in"), _FIELD, st.lists(_SCALAR, max_size=3)),
    st.tuples(st.just("prefix"), _FIELD, _TEXT),
    st.tuples(st.just("contains"), _FIELD, _SCALAR),
    st.tuples(st.just("exists"), _FIELD),
    st.tuples(st.just("text"), _TEXT),
)
_QUESTIONS: st.SearchStrategy[Question | None] = st.none() | st.recursive(
    _LEAVES,
    lambda inner: (
        st.tuples(st.sampled_from(["and", "or"]), inner, inner) | st.tuples(st.just("not"), inner)
    ),
    max_leaves=4,
)
_ORDERS = st.lists(st.builds(_by, _FIELD, descends=st.booleans(), short=st.booleans()), max_size=2)
