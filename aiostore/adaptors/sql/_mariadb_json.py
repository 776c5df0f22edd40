"""How MariaDB (10.6 and later) and MySQL (8.0.19 and later) judge a document, and sort a field.

Bodies are as `aiostore.codecs` writes them: no name twice in an object, floats by the shortest
digits that read back the same, and with a point or an exponent. Names of fields are plain.

To MariaDB JSON is text, to MySQL a type of its own, and their functions differ in most of what they
say about a value; MariaDB takes `1e16` for an integer. But in both the text of a value begins as
JSON does, so the first character tells its type, and an integer from a float the point or exponent.

Texts are compared as bytes of UTF-8, which is by code point: the engines' collations fold cases, or
spaces at the end. Integers are compared as such. A float is compared with the closest floats to
what is asked for, so that no engine ever compares an integer with a float, which they round.

MariaDB reads floats exactly. MySQL's reader of JSON (RapidJSON, without full precision) may be
some of the smallest steps off, so what is closer than a margin counts as unknown there.

MariaDB reads 31 levels of objects and arrays, one fewer than is portable; MySQL 100.

MariaDB knows an index of an expression by its columns alone, so it is an index of three generated
columns, which queries name. They are virtual: to add them touches no row, and all the statements of
`index_ddl` let readers and writers go on. The index has to be forced as well (`index_hint`): left
to itself MariaDB walks by keys if the result is sorted by them, and begins an order at its start
and not at its bound. With the hint it goes by the bounds, if they are comparisons of columns joined
by AND and OR; rows are not compared that way.
"""

from collections.abc import Sequence
from functools import partial
from hashlib import sha256
from math import ceil, floor
from sys import float_info
from typing import Any

import msgspec
from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Double,
    Integer,
    LargeBinary,
    String,
    and_,
    case,
    cast,
    exists,
    false,
    func,
    literal_column,
    or_,
    select,
    true,
    type_coerce,
)

from aiostore.adaptors.sql._comparisons import OPERATIONS, about
from aiostore.adaptors.sql._filters import Condition, Judge, Leaf
from aiostore.adaptors.sql._places import UNREADABLE, Place
from aiostore.adaptors.sql._tables import body as _body
from aiostore.filters import Compare, Contains, In, Operator, Path, Prefix, Scalar
from aiostore.keys import end_of_prefix
from aiostore.orders import LONGEST_TEXT

ALREADY_THERE = frozenset({1060, 1061})
"""The errors of `index_ddl`'s statements that say that there is nothing left to do.

https://mariadb.com/kb/en/mariadb-error-code-reference: ER_DUP_FIELDNAME and ER_DUP_KEYNAME.
"""

# A statement is at most 16 MiB long (`max_allowed_packet`, MariaDB's default): fifty parts of this
# length are less, even where every character has to be escaped.
_LONGEST = 128 * 1024

_PAST_INTEGERS = 2**63
# The first characters of JSON's values; numbers' are between the last two.
_NULL, _TRUE, _FALSE, _TEXT, _ARRAY, _MINUS, _NINE = (
    literal_column(f"'{first}'", String) for first in 'ntf"[-9'
)
_POINT, _EXPONENT = literal_column("'.'", String), literal_column("'e'", String)
_NOTHING, _ONE = literal_column("0", Integer), literal_column("1", Integer)
_FLOAT_ZERO = literal_column("0e0", Double)
_SHA2_BITS = literal_column("256", Integer)

_encode = msgspec.json.Encoder().encode


def is_readable() -> Condition:
    """Whether the server reads the body; where it does not, a judgement may be an error."""
    return func.json_valid(_body) == _ONE


def judge(leaf: Leaf, /, *, wide: bool, reads_exactly: bool = False) -> Condition:
    """A leaf as a condition: exact, but for floats of documents and for texts beyond 128 KiB.

    Args:
        leaf: the filter.
        wide: see `aiostore.adaptors.sql._filters`.
        reads_exactly: the server reads floats exactly, so that they are judged exactly too.
    """
    written = func.json_extract(_body, _json_path(leaf.path))
    match leaf:
        case Compare(operator=operator, value=value):
            return _compares(written, operator, value, wide=wide, exact=reads_exactly)
        case In(values=values):
            return _is_one_of(written, values, wide=wide, exact=reads_exactly)
        case Prefix(text=text):
            return _begins(written, text, wide=wide)
        case Contains(item=item):
            return _contains(written, item, wide=wide, exact=reads_exactly)
        case _:
            return written.is_not(None)


judge_by_mariadb: Judge = partial(judge, reads_exactly=True)
"""`judge` on servers that are known to be MariaDB."""


def place(path: Path, *, indexed: bool = False) -> Place:
    """Where a field sorts.

    Args:
        path: the field.
        indexed: `index_ddl` has been run, so that its columns can be named.
    """
    parts = _columns(path) if indexed else _expressions(path)
    # The driver gives bytes for the text; it is compared with texts as the bytes that they have.
    types: tuple[Any, ...] = (Integer, Double, String)
    return Place(*(literal_column(part, type_) for part, type_ in zip(parts, types, strict=True)))


def index_ddl(table: str, path: Path) -> list[str]:
    """The statements that make an index of a field, for all collections of a table.

    They are run in order, and any number of times, by several processes at once: errors of
    `ALREADY_THERE` are to be ignored. A statement that is refused so has waited for the one that
    did it, so the index is complete when the last one is over. Reads and writes go on meanwhile,
    but for an instant at the beginning and at the end, which waits for transactions that use the
    table, and makes others wait (`lock_wait_timeout`).
    """
    quoted = _quoted(table)
    types = ("TINYINT", "DOUBLE", f"VARBINARY({4 * LONGEST_TEXT})")
    made = zip(_columns(path), types, _expressions(path), strict=True)
    columns = ", ".join(
        f"ADD COLUMN {name} {type_} GENERATED ALWAYS AS ({expression}) VIRTUAL"
        for name, type_, expression in made
    )
    keys = ", ".join(("collection", *_columns(path), "`key`"))
    # What is INPLACE is no copy of the table, and MySQL takes no INSTANT along with LOCK.
    online = "ALGORITHM=INPLACE, LOCK=NONE"
    return [
        f"ALTER TABLE {quoted} {columns}, {online}",
        f"ALTER TABLE {quoted} ADD INDEX {index_name(path)} ({keys}), {online}",
    ]


def index_name(path: Path) -> str:
    """The name of the index of a field; the names of its columns begin so too."""
    return f"aiostore_i_{sha256(_encode(path)).hexdigest()[:16]}"


def index_hint(path: Path) -> str:
    """What makes a statement that names the columns go by the index, behind the table's name."""
    return f"FORCE INDEX ({index_name(path)})"


def _json_path(path: Path) -> str:
    return "$" + "".join(f".{name}" for name in path)


def _quoted(name: str) -> str:
    return f"`{name.replace('`', '``')}`"


def _columns(path: Path) -> tuple[str, str, str]:
    name = index_name(path)
    return f"{name}_rank", f"{name}_number", f"{name}_text"


def _expressions(path: Path) -> tuple[str, str, str]:
    """The columns of the place, of literals alone; and no warning, which refuses a write.

    `JSON_EXTRACT(…) + 0e0` warns of no number, as a cast of its text would of one too large.
    """
    written = f"JSON_EXTRACT(body, '{_json_path(path)}')"
    first = f"LEFT({written}, 1)"
    rank = (
        f"CASE WHEN body IS NULL THEN 0 WHEN JSON_VALID(body) THEN CASE COALESCE({first}, '') "
        "WHEN '' THEN 0 WHEN 'n' THEN 1 WHEN 't' THEN 2 WHEN 'f' THEN 2 WHEN '\"' THEN 4 "
        f"WHEN '[' THEN 5 WHEN '{{' THEN 5 ELSE 3 END ELSE {UNREADABLE} END"
    )
    number = (
        f"CASE WHEN JSON_VALID(body) THEN CASE WHEN {first} = 't' THEN 1e0 "
        f"WHEN {first} BETWEEN '-' AND '9' THEN {written} + 0e0 ELSE 0e0 END ELSE 0e0 END"
    )
    text = (
        f"CASE WHEN JSON_VALID(body) THEN CASE WHEN {first} = '\"' "
        f"THEN CAST(LEFT(JSON_UNQUOTE({written}), {LONGEST_TEXT}) AS BINARY) ELSE '' END "
        "ELSE '' END"
    )
    return rank, number, text


def _compares(
    written: ColumnElement[Any], operator: Operator, wanted: Scalar, *, wide: bool, exact: bool
) -> Condition:
    """A comparison of the value that is written so in JSON; NULL is none."""
    match wanted:
        case None:
            return _if(_begins_with(written, _NULL), true())
        case bool():
            first = _TRUE if wanted == (operator == "==") else _FALSE
            return _if(_begins_with(written, first), true())
        case str():
            if _is_too_long(wanted):
                return true() if wide else false()
            holds = OPERATIONS[operator](_text(written), wanted)
            return _if(_begins_with(written, _TEXT), holds)
        case _:
            as_float = (
                _exactly(_float(written), operator, wanted)
                if exact
                else about(_float(written), operator, wanted, wide=wide, bound=_finite)
            )
            return _if_number(written, _as_integer(written, operator, wanted), as_float)


def _is_one_of(
    written: ColumnElement[Any], wanted: Sequence[Scalar], *, wide: bool, exact: bool
) -> Condition:
    others = {one for one in wanted if one is None or isinstance(one, bool)}
    texts = [one for one in wanted if isinstance(one, str)]
    numbers = [one for one in wanted if isinstance(one, int | float) and not isinstance(one, bool)]
    ways = [
        _compares(written, "==", one, wide=wide, exact=exact) for one in sorted(others, key=repr)
    ]
    if texts:
        ways.append(_is_one_of_texts(written, texts, wide=wide))
    if numbers:
        ways.append(_is_one_of_numbers(written, numbers, wide=wide, exact=exact))
    return or_(false(), *ways)


def _is_one_of_texts(
    written: ColumnElement[Any], wanted: Sequence[str], *, wide: bool
) -> Condition:
    """By what is as short for every text: the server makes no lookup table of long ones."""
    hashes = [sha256(one.encode()).hexdigest() for one in wanted]
    listed = _listed(hashes, "CHAR(64)")
    if listed is None:
        return _is_between(written, min(wanted), max(wanted), wide=wide, exact=True)
    # As bytes, for the column has the collation of the database.
    hashed = cast(func.sha2(_text(written), _SHA2_BITS), LargeBinary)
    found = hashed.in_(select(cast(listed, LargeBinary)))
    return _if(_begins_with(written, _TEXT), found)


def _is_one_of_numbers(
    written: ColumnElement[Any], wanted: Sequence[float], *, wide: bool, exact: bool
) -> Condition:
    integers = _listed([int(one) for one in wanted if _is_integer(one)], "BIGINT")
    floats = _listed([float(one) for one in wanted if float(one) == one], "DOUBLE")
    between = _is_between(written, min(wanted), max(wanted), wide=wide, exact=exact)
    if integers is None or floats is None:
        return between
    as_float = _float(written).in_(select(floats)) if exact else between
    return _if_number(written, _integer(written).in_(select(integers)), as_float)


def _is_between(
    written: ColumnElement[Any], low: Scalar, high: Scalar, *, wide: bool, exact: bool
) -> Condition:
    if not wide:
        return false()
    return and_(
        _compares(written, ">=", low, wide=True, exact=exact),
        _compares(written, "<=", high, wide=True, exact=exact),
    )


def _begins(written: ColumnElement[Any], text: str, *, wide: bool) -> Condition:
    if _is_too_long(text):
        return true() if wide else false()
    found, end = _text(written), end_of_prefix(text)
    before = true() if end is None else found < end
    return _if(_begins_with(written, _TEXT), and_(found >= text, before))


def _contains(written: ColumnElement[Any], item: Scalar, *, wide: bool, exact: bool) -> Condition:
    if isinstance(item, str) and _is_too_long(item):
        return true() if wide else false()
    element = _unfolded(written, "JSON")
    equals = _compares(element, "==", item, wide=wide, exact=exact)
    if item is None:
        equals = or_(element.is_(None), equals)  # so MySQL unfolds JSON's null
    in_array = _if(_begins_with(written, _ARRAY), exists(select(element).where(equals)))
    if not isinstance(item, str):
        return in_array
    in_text = _if(_begins_with(written, _TEXT), func.instr(_text(written), item) > _NOTHING)
    return or_(in_text, in_array)


def _begins_with(written: ColumnElement[Any], first: ColumnElement[str]) -> Condition:
    return func.left(written, _ONE) == first


def _if(condition: Condition, then: Condition) -> Condition:
    """Both of them, but that the second is not asked where the first is false or NULL."""
    return case((condition, then), else_=false())


def _if_number(
    written: ColumnElement[Any], as_integer: Condition, as_float: Condition
) -> Condition:
    is_number = func.left(written, _ONE).between(_MINUS, _NINE)
    is_float = or_(
        func.instr(written, _POINT) > _NOTHING, func.instr(written, _EXPONENT) > _NOTHING
    )
    return _if(is_number, case((is_float, as_float), else_=as_integer))


def _text(written: ColumnElement[Any]) -> ColumnElement[Any]:
    """The text that a text of JSON stands for, or the digits of a number, as bytes."""
    return type_coerce(cast(func.json_unquote(written), LargeBinary), String)


def _integer(written: ColumnElement[Any]) -> ColumnElement[Any]:
    return cast(func.json_unquote(written), BigInteger)


def _float(written: ColumnElement[Any]) -> ColumnElement[Any]:
    return type_coerce(written, Double) + _FLOAT_ZERO


def _as_integer(written: ColumnElement[Any], operator: Operator, wanted: float) -> Condition:
    """A comparison of an integer, with an integer."""
    if operator in ("==", "!="):
        bound = int(wanted) if _is_integer(wanted) else _PAST_INTEGERS
    else:
        bound = ceil(wanted) if operator in ("<", ">=") else floor(wanted)
        bound = max(-_PAST_INTEGERS - 1, min(bound, _PAST_INTEGERS))
    return OPERATIONS[operator](_integer(written), bound)


def _exactly(found: ColumnElement[Any], operator: Operator, wanted: float) -> Condition:
    """A comparison of a float that is read exactly, with a float."""
    closest = float(wanted)
    if closest == wanted:
        return OPERATIONS[operator](found, closest)
    match operator:
        case "==":
            return false()
        case "!=":
            return true()
        case "<" | "<=":
            return found <= closest if closest < wanted else found < closest
        case _:
            return found > closest if closest < wanted else found >= closest


def _finite(bound: float) -> float:
    """The bound, or the largest float: there is no infinity in SQL, nor in a document."""
    return max(-float_info.max, min(bound, float_info.max))


def _is_integer(number: float) -> bool:
    """Whether it equals an integer of 64 bits."""
    return number % 1 == 0 and -_PAST_INTEGERS <= number < _PAST_INTEGERS


def _is_too_long(text: str) -> bool:
    return len(text) > _LONGEST or len(text.encode()) > _LONGEST


def _listed(values: Sequence[Any], type_: str) -> ColumnElement[Any] | None:
    """The values as a column of a table, of one parameter; None if they are too many."""
    encoded = _encode(values).decode()
    return None if len(encoded) > _LONGEST else _unfolded(encoded, type_)


def _unfolded(array: Any, type_: str) -> ColumnElement[Any]:
    """The elements of an array of JSON, as a column of a table."""
    columns = literal_column(f"'$[*]' COLUMNS (value {type_} PATH '$')", String)
    found: ColumnElement[Any] = func.json_table(array, columns).table_valued("value").c.value
    return found
