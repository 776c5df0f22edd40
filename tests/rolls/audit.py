"""The audit: whether what the clients were told fits one document a key, whoever was asked.

For each key there must be an order of its requests in which every answer is right, in which no
request comes before one that was answered before it was sent, and in which a request of unknown
outcome takes effect once, at any time after it was sent, or never. This is linearizability (Herlihy
and Wing, 1990), searched for as in Lowe, "Testing for linearizability" (2017): answer by answer,
keeping every state that the key may be in by then. A lost write, a stale or dirty read, two
successes over one version, a document that comes back and a refusal without a cause all leave no
such order. Like the ledger it imports nothing of aiostore.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from typing import NamedTuple

from ledger import Ledger, Request

SHOWN = 16


class Standing(NamedTuple):
    """A document: its version, None as long as nobody has been told, and its value."""

    version: str | None
    value: str


class Possible(NamedTuple):
    """What may be by now.

    Attributes:
        standing: what stands there; None for nothing.
        ahead: requests that have taken effect and whose answers are still to come.
        unknown: requests of unknown outcome that have taken effect.
    """

    standing: Standing | None
    ahead: frozenset[Request] = frozenset()
    unknown: frozenset[Request] = frozenset()


def audit(ledger: Ledger) -> list[str]:
    """What is wrong, in words; for each key the first of it, and the requests before that."""
    return [
        finding
        for requests in ledger.keys.values()
        for finding in chain(_of_versions(requests), _of_order(requests))
    ]


def _of_versions(requests: Sequence[Request]) -> Iterator[str]:
    """A version is one value's for ever, and a value one version's."""
    values: dict[str, str] = {}
    versions: dict[str, str] = {}
    for request in requests:
        version, value = request.version, request.value
        if request.answer != "done" or version is None or value is None:
            continue
        if values.setdefault(version, value) != value:
            yield f"one version with two contents: {values[version]!r} and\n{request}"
        if versions.setdefault(value, version) != version:
            yield f"one write under two versions: {versions[value]} and\n{request}"


def _of_order(requests: Sequence[Request]) -> Iterator[str]:
    """The first answer that no order explains, if there is one."""
    told = {request.value: request.version for request in requests if _tells_version(request)}
    sent = {request.sent: request for request in requests if _matters(request)}
    answered = {one.answered: one for one in sent.values() if one.answered is not None}
    pending: list[Request] = []
    search = _Search(told)
    for entry in sorted([*sent, *answered]):
        if entry in sent:
            pending.append(sent[entry])
            continue
        request = answered[entry]
        before = search.possible
        if not search.answer(request, pending):
            last = [one for one in requests if one.sent <= entry][-SHOWN:]
            states = {one.standing for one in before}
            yield (
                f"no order of its requests explains what {request.key} was told:\n{request}\n"
                f"possible was {states}; its last {len(last)} requests:\n"
                + "\n".join(map(str, last))
            )
            return
        pending.remove(request)


class _Search:
    """All that may be by now, for one key.

    Args:
        told: the version of each value, as far as anybody was told.
    """

    def __init__(self, told: dict[str | None, str | None]) -> None:
        self._told = told
        self._known = set(told.values())
        self.possible: set[Possible] = {Possible(None)}

    def answer(self, request: Request, pending: Sequence[Request]) -> bool:
        """Take an answer into account; whether anything is possible still."""
        writes = [one for one in pending if _writes(one)]
        reads = [one for one in pending if not _writes(one)]
        found: set[Possible] = set()
        seen: set[Possible] = set()
        left = list(self.possible)
        while left:
            one = self._with_reads(left.pop(), reads)
            if one in seen:
                continue
            seen.add(one)
            if request in one.ahead:
                found.add(one._replace(ahead=one.ahead - {request}))
            else:
                left += self._next(one, writes)
        self.possible = set(_least(found))
        return bool(found)

    def _with_reads(self, one: Possible, reads: Iterable[Request]) -> Possible:
        """With all that changes nothing and is right now, which is as good as later."""
        right = {request for request in reads if self._fits(request, one.standing)}
        return one._replace(ahead=one.ahead | right)

    def _next(self, one: Possible, writes: Iterable[Request]) -> Iterator[Possible]:
        """What each pending write makes of it, where its answer is right."""
        for request in writes:
            if request in one.ahead or request in one.unknown:
                continue
            if not self._fits(request, one.standing):
                continue
            value = request.value
            standing = None if value is None else Standing(self._told.get(value), value)
            if request.answer == "unknown":
                yield Possible(standing, one.ahead, one.unknown | {request})
            else:
                yield Possible(standing, one.ahead | {request}, one.unknown)

    def _fits(self, request: Request, standing: Standing | None) -> bool:
        """Whether the request, taking effect now, is answered as it was."""
        if request.answer == "missing":
            return standing is None
        if request.answer == "standing":
            return (
                standing is not None
                and self._is(standing, request.version)
                and (request.kind == "create" or not self._is(standing, request.over, surely=True))
            )
        match request.kind:
            case "put" | "remove":
                return True
            case "create":
                return standing is None
            case "replace" | "delete":
                return standing is not None and self._is(standing, request.over)
            case "get":
                return standing == (request.version, request.value)

    def _is(self, standing: Standing, version: str | None, *, surely: bool = False) -> bool:
        """Whether it has this version; nobody may know it of a write of unknown outcome."""
        if standing.version is None and not surely:
            return version not in self._known
        return standing.version == version


def _tells_version(request: Request) -> bool:
    return request.answer == "done" and request.value is not None


def _matters(request: Request) -> bool:
    return request.answer != "unknown" or request.kind != "get"


def _writes(request: Request) -> bool:
    return request.kind != "get" and request.answer in ("done", "unknown")


def _least(found: Iterable[Possible]) -> Iterator[Possible]:
    """Without those for which more of unknown outcome has taken effect than need have.

    What has not taken effect yet may still do so, or never, so it allows all that the other does.
    """
    alike: dict[tuple[Standing | None, frozenset[Request]], list[frozenset[Request]]]
    alike = defaultdict(list)
    for one in sorted(found, key=lambda one: len(one.unknown)):
        smaller = alike[one.standing, one.ahead]
        if not any(least <= one.unknown for least in smaller):
            smaller.append(one.unknown)
            yield one
