"""The audit itself: it lets pass what can be, and finds each kind of what cannot."""

import random
from collections.abc import Callable

import pytest
from audit import audit
from ledger import Answer, Kind, Ledger, Request

KEY = "k"


class Forged:
    """A ledger of one key, filled in by hand."""

    def __init__(self) -> None:
        self.ledger = Ledger()

    def ask(
        self,
        kind: Kind,
        answer: Answer,
        version: str | None = None,
        value: str | None = None,
        over: str | None = None,
    ) -> None:
        """A request that was answered before the next one was sent."""
        self.answer(self.send(kind, value, over), answer, version, value)

    def send(self, kind: Kind, value: str | None = None, over: str | None = None) -> Request:
        """A request that is under way."""
        written = None if kind == "get" else value
        return self.ledger.send("c", kind, KEY, written, over=over)

    def answer(
        self,
        request: Request,
        answer: Answer,
        version: str | None = None,
        read: str | None = None,
    ) -> None:
        """Its answer."""
        self.ledger.answer(request, answer, version, value=read)


def a_life(forged: Forged) -> None:
    """A document is made, read, replaced, and deleted; nothing is wrong."""
    forged.ask("get", "missing")
    forged.ask("create", "done", "v1", "a")
    forged.ask("create", "standing", "v1", "b")
    forged.ask("replace", "done", "v2", "c", over="v1")
    forged.ask("replace", "standing", "v2", "d", over="v1")
    forged.ask("put", "done", "v3", "e")
    forged.ask("get", "done", "v3", "e")
    forged.ask("delete", "standing", "v3", over="v2")
    forged.ask("delete", "done", over="v3")
    forged.ask("replace", "missing", value="f", over="v3")
    forged.ask("remove", "done")
    forged.ask("create", "done", "v4", "g")
    forged.ask("remove", "done")
    forged.ask("get", "missing")


def at_once(forged: Forged) -> None:
    """What is under way at the same time may take effect in any order."""
    forged.ask("put", "done", "v1", "a")
    first, second = forged.send("put", "b"), forged.send("put", "c")
    early, late = forged.send("get"), forged.send("get")
    forged.answer(early, "done", "v3", "c")
    forged.answer(second, "done", "v3")
    forged.answer(late, "done", "v1", "a")
    forged.answer(first, "done", "v2")
    forged.ask("get", "done", "v3", "c")


def never(forged: Forged) -> None:
    """What is not known need not have taken effect."""
    forged.ask("put", "done", "v1", "a")
    forged.ask("put", "unknown", value="b")
    forged.ask("remove", "unknown")
    forged.ask("get", "done", "v1", "a")


def much_later(forged: Forged) -> None:
    """It may do so long after."""
    forged.ask("put", "done", "v1", "a")
    forged.ask("put", "unknown", value="b")
    forged.ask("get", "done", "v1", "a")
    forged.ask("replace", "done", "v3", "c", over="v1")
    forged.ask("get", "done", "v2", "b")
    forged.ask("replace", "done", "v4", "d", over="v2")


def in_the_way(forged: Forged) -> None:
    """A write of unknown outcome is a cause to refuse; who is told of it can replace it."""
    forged.ask("put", "done", "v1", "a")
    forged.ask("replace", "unknown", value="b", over="v1")
    forged.ask("replace", "standing", "v2", "c", over="v1")
    forged.ask("replace", "done", "v3", "d", over="v2")
    forged.ask("delete", "unknown", over="v3")
    forged.ask("get", "missing")


@pytest.mark.parametrize("forge", [a_life, at_once, never, much_later, in_the_way])
def test_what_can_be_passes(forge: Callable[[Forged], None]) -> None:
    """A ledger that one document explains is clean."""
    forged = Forged()
    forge(forged)
    assert audit(forged.ledger) == []


def lost(forged: Forged) -> None:
    """An acknowledged write is gone."""
    forged.ask("put", "done", "v1", "a")
    forged.ask("put", "done", "v2", "b")
    forged.ask("get", "done", "v1", "a")


def lost_altogether(forged: Forged) -> None:
    """A document is gone that nobody has deleted."""
    forged.ask("create", "done", "v1", "a")
    forged.ask("get", "missing")


def stale(forged: Forged) -> None:
    """A read that began after another had seen the newer one sees the older one."""
    forged.ask("put", "done", "v1", "a")
    under_way = forged.send("put", "b")
    forged.ask("get", "done", "v2", "b")
    forged.ask("get", "done", "v1", "a")
    forged.answer(under_way, "done", "v2")


def twice_over_one(forged: Forged) -> None:
    """Two writes succeed over the same version: one of them is lost."""
    forged.ask("put", "done", "v1", "a")
    first, second = forged.send("replace", "b", "v1"), forged.send("replace", "c", "v1")
    forged.answer(first, "done", "v2")
    forged.answer(second, "done", "v3")


def created_twice(forged: Forged) -> None:
    """Two clients have created the same document."""
    first, second = forged.send("create", "a"), forged.send("create", "b")
    forged.answer(first, "done", "v1")
    forged.answer(second, "done", "v2")


def resurrected(forged: Forged) -> None:
    """A deleted document is back."""
    forged.ask("put", "done", "v1", "a")
    forged.ask("delete", "done", over="v1")
    forged.ask("get", "done", "v1", "a")


def removed_and_back(forged: Forged) -> None:
    """Likewise, when the deletion had no condition."""
    forged.ask("put", "done", "v1", "a")
    forged.ask("put", "unknown", value="b")
    forged.ask("get", "done", "v2", "b")
    forged.ask("remove", "done")
    forged.ask("get", "done", "v2", "b")


def refused_without_cause(forged: Forged) -> None:
    """A conflict is told, but the version that was named stood there."""
    forged.ask("put", "done", "v1", "a")
    forged.ask("replace", "standing", "v1", "b", over="v1")


def refused_by_the_past(forged: Forged) -> None:
    """A conflict is told with a version that had been replaced."""
    forged.ask("put", "done", "v1", "a")
    forged.ask("put", "done", "v2", "b")
    forged.ask("replace", "standing", "v1", "c", over="v2")


def refused_by_nothing(forged: Forged) -> None:
    """A create is refused where nothing stands."""
    forged.ask("create", "standing", "v1", "a")


def missing_without_cause(forged: Forged) -> None:
    """A replace finds nothing where a document stands."""
    forged.ask("put", "done", "v1", "a")
    forged.ask("replace", "missing", value="b", over="v1")


def dirty(forged: Forged) -> None:
    """A refused write is read."""
    forged.ask("put", "done", "v1", "a")
    under_way = forged.send("replace", "b", "v0")
    forged.ask("get", "done", "v2", "b")
    forged.answer(under_way, "standing", "v1")


def out_of_nowhere(forged: Forged) -> None:
    """What nobody has written is read."""
    forged.ask("get", "done", "v1", "a")


def unknown_undone(forged: Forged) -> None:
    """A write of unknown outcome was seen, and is gone again."""
    forged.ask("put", "done", "v1", "a")
    forged.ask("put", "unknown", value="b")
    forged.ask("get", "done", "v2", "b")
    forged.ask("get", "done", "v1", "a")


def unknown_twice(forged: Forged) -> None:
    """A write of unknown outcome takes effect twice."""
    forged.ask("put", "unknown", value="a")
    forged.ask("get", "done", "v1", "a")
    forged.ask("put", "done", "v2", "b")
    forged.ask("get", "done", "v1", "a")


def unknown_over_another(forged: Forged) -> None:
    """A conditional write of unknown outcome takes effect over another version than its own."""
    forged.ask("put", "done", "v1", "a")
    forged.ask("put", "done", "v2", "b")
    forged.ask("replace", "unknown", value="c", over="v1")
    forged.ask("get", "done", "v3", "c")


def before_its_time(forged: Forged) -> None:
    """A write is read before it was sent."""
    forged.ask("get", "done", "v1", "a")
    forged.ask("put", "done", "v1", "a")


def reused_version(forged: Forged) -> None:
    """One version has stood for two contents."""
    forged.ask("put", "done", "v1", "a")
    forged.ask("put", "done", "v1", "b")
    forged.ask("get", "done", "v1", "b")


def changed_version(forged: Forged) -> None:
    """A document's version has changed without a write."""
    forged.ask("put", "done", "v1", "a")
    forged.ask("get", "done", "v2", "a")


WRONG = [
    *(lost, lost_altogether, stale, twice_over_one, created_twice, resurrected, removed_and_back),
    *(refused_without_cause, refused_by_the_past, refused_by_nothing, missing_without_cause),
    *(dirty, out_of_nowhere, unknown_undone, unknown_twice, unknown_over_another),
    *(before_its_time, reused_version, changed_version),
]


@pytest.mark.parametrize("forge", WRONG)
def test_what_cannot_be_is_found(forge: Callable[[Forged], None]) -> None:
    """A ledger that no document explains is told of, with the key's requests."""
    forged = Forged()
    forge(forged)
    findings = audit(forged.ledger)
    assert findings
    assert f" {KEY}" in findings[0]


@pytest.mark.parametrize("forge", WRONG)
def test_it_is_found_among_others(forge: Callable[[Forged], None]) -> None:
    """It is found behind a life of its key in which nothing was wrong."""
    forged = Forged()
    forged.ask("put", "done", "w1", "before")
    forged.ask("get", "done", "w1", "before")
    forged.ask("remove", "done")
    forge(forged)
    assert audit(forged.ledger)


@pytest.mark.parametrize("seed", range(40))
def test_what_one_document_answers_passes(seed: int) -> None:
    """All that one document answers is clean; with its last read made older it is not."""
    ledger = simulated(random.Random(seed))
    assert audit(ledger) == []
    reads = [one for one in ledger.keys[KEY] if one.kind == "get" and one.answer == "done"]
    older = next(one for one in reads if one.version != reads[-1].version)
    reads[-1].version, reads[-1].value = older.version, older.value
    assert len(audit(ledger)) == 1


def simulated(choices: random.Random) -> Ledger:
    """Sixty requests, up to six at once, and a last write that is read when all have ended."""
    forged, document = Forged(), Document()
    sent: list[Request] = []
    decided: list[tuple[Request, Answer, str | None, str | None]] = []
    left = 60
    while left or sent or decided:
        step = choices.choice("sda")
        if step == "s" and left and len(sent) + len(decided) < 6:
            left -= 1
            kind = choices.choice(KINDS)
            value = f"value {left}" if kind in ("put", "create", "replace") else None
            over = choices.choice(document.versions) if kind in ("replace", "delete") else None
            sent.append(forged.send(kind, value, over))
        elif step == "d" and sent:
            request = sent.pop(choices.randrange(len(sent)))
            decided.append((request, *document.asked(request)))
        elif step == "a" and decided:
            request, answer, version, read = decided.pop(choices.randrange(len(decided)))
            if choices.random() < 0.9:
                forged.answer(request, answer, version, read)
        elif sent and choices.random() < 0.02:
            sent.pop(choices.randrange(len(sent)))  # it got lost on the way
    forged.ask("put", "done", "last", "last")
    forged.ask("get", "done", "last", "last")
    return forged.ledger


KINDS: list[Kind] = ["get", "get", "get", "put", "create", "replace", "replace", "delete", "remove"]


class Document:
    """One document that answers one request after the other.

    Attributes:
        versions: those it has had, and one that it never had.
    """

    def __init__(self) -> None:
        self.versions = ["never"]
        self._standing: tuple[str, str] | None = None

    def asked(self, request: Request) -> tuple[Answer, str | None, str | None]:
        """The answer, its version, and what was read."""
        version, value = self._standing or (None, None)
        if request.kind in ("get", "replace", "delete") and version is None:
            return "missing", None, None
        if request.kind == "get":
            return "done", version, value
        if request.over not in (None, version) or (request.kind == "create" and version):
            return "standing", version, None
        if request.value is None:
            self._standing = None
            return "done", None, None
        made = f"v{len(self.versions)}"
        self.versions.append(made)
        self._standing = made, request.value
        return "done", made, None
