from typing import Any

import msgspec
import pytest
from hypothesis import find, given
from hypothesis import strategies as st

from aiostore.filters import F, Filter, is_plain, kinds_of
from aiostore.limits import PORTABLE, check_scalar, check_value
from aiostore.testing.strategies import KINDS, documents, filters, scalars


@given(documents(), documents(plain=True))
def test_documents_keep_to_the_contract(document: dict[str, Any], plain: dict[str, Any]) -> None:
    """Every store takes them as they are."""
    check_value(document, PORTABLE)
    check_value(plain, PORTABLE)


@given(scalars())
def test_scalars_can_stand_in_a_document(scalar: Any) -> None:
    """Texts, numbers, booleans and null, of those that the contract allows."""
    check_scalar(scalar)


@given(st.data())
def test_filters_are_of_the_kinds_asked_for(data: st.DataObject) -> None:
    """Of these kinds alone, with plain names if that is asked for, and such as decode again."""
    kinds = data.draw(st.sets(st.sampled_from(sorted(KINDS))).map(lambda some: {"in", *some}))
    about = data.draw(st.lists(documents(), max_size=3))
    where = data.draw(filters(kinds=kinds, plain=True, about=about))
    assert kinds_of(where) <= kinds
    assert is_plain(where)
    assert msgspec.json.decode(msgspec.json.encode(where), type=Filter) == where


@pytest.mark.parametrize(
    ("wanted", "kind"), [(F.a.b == 123456789, "equal"), (F.a.b < 123456790, "compare")]
)
def test_filters_ask_after_what_stands_there(wanted: Filter, kind: str) -> None:
    """Chance alone would hardly find this number there, nor the one next to it."""
    about = [{"a": {"b": 123456789}, "c": ["x", 1.5]}]
    assert find(filters(kinds={kind}, about=about), wanted.__eq__) == wanted
