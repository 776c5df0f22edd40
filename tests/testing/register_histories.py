"""Histories of one document that no store may have, and others that it may."""

from typing import Any, TypeAlias

from aiostore.testing.registers import Answer, Call, DocumentOperation, Stood

GET = Call("get")
NOT_FOUND = Answer("not found")
GONE = Answer("done")


def create(value: str) -> Call:
    """Create it, of this value."""
    return Call("create", value)


def put(value: str) -> Call:
    """Put this value."""
    return Call("put", value)


def swap(old: str, new: str) -> Call:
    """Replace the version that `old` has."""
    return Call("replace", new, f"version {old}")


def delete(old: str | None = None, *, missing_ok: bool = False) -> Call:
    """Delete it, of the version that `old` has or of any."""
    return Call("delete", None, old and f"version {old}", missing_ok)


def done(value: str, version: str | None = None) -> Answer:
    """A document; its version follows from its value."""
    return Answer("done", Stood(version or f"version {value}", value))


def exists(value: str) -> Answer:
    """Refused, for this document is there already."""
    return Answer("exists", done(value).document)


def conflict(value: str) -> Answer:
    """Refused, for this document stands there."""
    return Answer("conflict", done(value).document)


Lines: TypeAlias = list[tuple[int, int, Call, Answer] | tuple[int, Call]]
"""A line is an operation's two times, its call and its answer; or its first time and its call."""


def operations(lines: Lines) -> list[DocumentOperation]:
    """The history that the lines tell, each of a client of its own."""
    found = []
    for number, line in enumerate(lines):
        match line:
            case (called, answered, call, answer):
                ends: dict[str, Any] = {"answered": answered, "answer": answer}
            case (called, call):
                ends = {}
        client = f"c{number}"
        found.append(DocumentOperation(client=client, key="k", call=call, called=called, **ends))
    return found


WRONG: dict[str, tuple[Lines, str]] = {
    "a stale read": (
        [(1, 2, put("a"), done("a")), (3, 4, put("b"), done("b")), (5, 6, GET, done("a"))],
        "get() → done: 'a' at …on a: 'b' stands there, so the answer should be done: 'b'",
    ),
    "a lost update": (
        [
            (1, 2, create("a"), done("a")),
            (3, 4, GET, done("a")),
            (5, 6, GET, done("a")),
            (7, 8, swap("a", "b"), done("b")),
            (9, 10, swap("a", "c"), done("c")),
        ],
        "'b' stands there, so the answer should be conflict: 'b'",
    ),
    "two that compare and set at once, and both succeed": (
        [
            (1, 2, create("a"), done("a")),
            (3, 6, swap("a", "b"), done("b")),
            (4, 5, swap("a", "c"), done("c")),
        ],
        "stands there, so the answer should be conflict",
    ),
    "a read of a rejected write": (
        [
            (1, 2, put("a"), done("a")),
            (3, 4, put("b"), done("b")),
            (5, 6, swap("a", "c"), conflict("b")),
            (7, 8, GET, done("c")),
        ],
        "'b' stands there, so the answer should be done: 'b'",
    ),
    "a resurrection": (
        [(1, 2, put("a"), done("a")), (3, 4, delete(), GONE), (5, 6, GET, done("a"))],
        "nothing stands there, so the answer should be not found",
    ),
    "an acknowledged write that vanishes": (
        [(1, 2, put("a"), done("a")), (3, 4, GET, NOT_FOUND)],
        "'a' stands there, so the answer should be done: 'a'",
    ),
    "a value seen, and then unseen": (
        [
            (1, 2, put("a"), done("a")),
            (3, 10, put("b"), done("b")),
            (4, 5, GET, done("b")),
            (6, 7, GET, done("a")),
        ],
        "get() → done: 'a' at …on a: 'b' stands there",
    ),
    "an unknown write that took effect and went away again": (
        [(1, put("a")), (2, 3, GET, done("a")), (4, 5, GET, NOT_FOUND)],
        "'a' stands there, so the answer should be done: 'a'",
    ),
    "an unknown write that took effect twice": (
        [
            (1, put("a")),
            (2, 3, GET, done("a")),
            (4, 5, put("b"), done("b")),
            (6, 7, GET, done("a")),
        ],
        "'b' stands there, so the answer should be done: 'b'",
    ),
    "an unknown compare and set that overtook its condition": (
        [
            (1, 2, create("a"), done("a")),
            (3, 4, put("b"), done("b")),
            (5, swap("a", "c")),
            (6, 7, GET, done("c")),
        ],
        "'b' stands there, so the answer should be done: 'b'",
    ),
    "an unknown delete of one version that removed another": (
        [
            (1, 2, create("a"), done("a")),
            (3, delete("a")),
            (4, 5, GET, done("a")),
            (6, 7, swap("a", "b"), done("b")),
            (8, 9, GET, NOT_FOUND),
        ],
        "'b' stands there, so the answer should be done: 'b'",
    ),
    "a read from before its write": (
        [(1, 2, GET, done("a")), (3, 4, put("a"), done("a"))],
        "nothing stands there, so the answer should be not found",
    ),
    "two creations without a deletion": (
        [(1, 4, create("a"), done("a")), (2, 3, create("b"), done("b"))],
        "stands there, so the answer should be exists",
    ),
    "a creation refused by what has gone": (
        [
            (1, 2, put("a"), done("a")),
            (3, 4, delete("a"), GONE),
            (5, 6, create("b"), exists("a")),
        ],
        "nothing stands there, so the answer should be done: 'b'",
    ),
    "a refused creation that is told the wrong document": (
        [
            (1, 2, put("a"), done("a")),
            (3, 4, put("b"), done("b")),
            (5, 6, create("c"), exists("a")),
        ],
        "'b' stands there, so the answer should be exists: 'b'",
    ),
    "a conflict with the very version that was expected": (
        [(1, 2, put("a"), done("a")), (3, 4, swap("a", "b"), conflict("a"))],
        "'a' stands there, so the answer should be done: 'b'",
    ),
    "a replacement that finds nothing where there is something": (
        [(1, 2, put("a"), done("a")), (3, 4, swap("a", "b"), NOT_FOUND)],
        "'a' stands there, so the answer should be done: 'b'",
    ),
    "a deletion of nothing": (
        [(1, 2, delete(), GONE)],
        "nothing stands there, so the answer should be not found",
    ),
    "a deletion of another version": (
        [
            (1, 2, put("a"), done("a")),
            (3, 4, put("b"), done("b")),
            (5, 6, delete("a", missing_ok=True), GONE),
        ],
        "'b' stands there, so the answer should be conflict: 'b'",
    ),
    "a deletion that does not mind, and does nothing": (
        [
            (1, 2, put("a"), done("a")),
            (3, 4, delete(missing_ok=True), GONE),
            (5, 6, GET, done("a")),
        ],
        "nothing stands there, so the answer should be not found",
    ),
    "a put that is answered with another's document": (
        [(1, 4, put("a"), done("a")), (2, 3, put("b"), done("a"))],
        "so the answer should be done: 'b'",
    ),
    "a version that is acknowledged twice": (
        [(1, 2, put("a"), done("a", "v1")), (3, 4, put("b"), done("b", "v1"))],
        "one write has one value and one version, and there was 'a' at …v1 already",
    ),
    "a write that is there under two versions": (
        [(1, put("a")), (2, 3, GET, done("a", "v1")), (4, 5, GET, done("a", "v2"))],
        "one write has one value and one version, and there was 'a' at …v1 already",
    ),
    "a value that nobody has written": (
        [(1, 2, put("a"), done("a")), (3, 4, GET, done("b"))],
        "nobody has written this value",
    ),
    "a write with a smaller version than what it covers": (
        [(1, 2, put("a"), done("a", "v2")), (3, 4, put("b"), done("b", "v1"))],
        "its version is smaller than that of 'a', which stands there",
    ),
}
"""What no store may do, and how that is told."""


RIGHT: dict[str, Lines] = {
    "nothing at all": [],
    "a life": [
        (1, 2, GET, NOT_FOUND),
        (3, 4, swap("x", "y"), NOT_FOUND),
        (5, 6, create("a"), done("a")),
        (7, 8, create("b"), exists("a")),
        (9, 10, swap("a", "c"), done("c")),
        (11, 12, swap("a", "d"), conflict("c")),
        (13, 14, delete("a"), conflict("c")),
        (15, 16, delete("c"), GONE),
        (17, 18, delete("c"), NOT_FOUND),
        (19, 20, delete("c", missing_ok=True), GONE),
        (21, 22, create("e"), done("e")),
        (23, 24, delete(), GONE),
        (25, 26, delete(missing_ok=True), GONE),
        (27, 28, put("f"), done("f")),
        (29, 30, GET, done("f")),
    ],
    "reads beside a write, the old and the new one": [
        (1, 2, put("a"), done("a")),
        (3, 10, put("b"), done("b")),
        (4, 5, GET, done("a")),
        (6, 9, GET, done("b")),
        (7, 8, GET, done("b")),
    ],
    "writes at once, of which only one order fits": [
        (1, 20, put("a"), done("a")),
        (2, 19, delete("b"), GONE),
        (3, 18, put("b"), done("b")),
        (4, 17, create("c"), exists("a")),
        (5, 16, swap("a", "d"), conflict("b")),
        (21, 22, GET, NOT_FOUND),
    ],
    "an unknown write that never was": [(1, put("a")), (2, 3, GET, NOT_FOUND)],
    "an unknown write that took effect at once": [(1, put("a")), (2, 3, GET, done("a"))],
    "an unknown write that took effect much later": [
        (1, create("a")),
        (2, 3, GET, NOT_FOUND),
        (4, 5, create("b"), done("b")),
        (6, 7, delete("b"), GONE),
        (8, 9, GET, NOT_FOUND),
        (10, 11, GET, done("a")),
    ],
    "unknown writes, of which only one order fits": [
        (1, 2, create("a"), done("a")),
        (3, put("c")),
        (4, swap("a", "b")),
        (5, delete("b")),
        (6, 7, GET, done("b")),
        (8, 9, GET, NOT_FOUND),
        (10, 11, GET, done("c")),
    ],
    "an unknown write that only a refusal shows": [
        (1, put("a")),
        (2, put("b")),
        (3, 4, create("c"), exists("b")),
        (5, 6, swap("b", "d"), conflict("a")),
    ],
    "an unknown write whose version nobody was told": [(1, put("a")), (2, 3, delete(), GONE)],
    "a deletion that did nothing at once, and something later": [
        (1, 8, delete(missing_ok=True), GONE),
        (2, 3, create("a"), done("a")),
        (4, 5, GET, done("a")),
        (6, 7, GET, NOT_FOUND),
    ],
    "an unknown deletion after a second creation": [
        (1, 2, create("a"), done("a")),
        (3, delete()),
        (4, 5, delete(), GONE),
        (6, 7, create("b"), done("b")),
        (8, 9, GET, NOT_FOUND),
    ],
    "a creation with a smaller version than what was deleted": [
        (1, 2, put("a"), done("a", "v2")),
        (3, 4, delete(), GONE),
        (5, 6, create("b"), done("b", "v1")),
    ],
}
"""What a store may do."""
