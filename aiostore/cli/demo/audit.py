"""The audit: what a store holds in the end, against what the ledger says must stand there.

Like the ledger it imports nothing of aiostore.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from aiostore.cli.demo.ledger import Attempt, Ledger, State, may_follow


class Standing(NamedTuple):
    """A document as it was found: its version, and the digest of its value."""

    version: str
    digest: str


@dataclass(slots=True)
class Findings:
    """What does not agree.

    Attributes:
        lost: acknowledged writes that are gone or undone, and those that were acknowledged in the
            place of a version that another one had replaced already.
        resurrected: documents that stand though their deletion was acknowledged.
        different: versions with another content than was acknowledged under them.
        unexpected: documents that no acknowledged write explains, those of rejected ones included;
            and acknowledged writes in the place of such a document.
        expected: how many documents there must be, without those of unknown outcome.
        unknown: writes of which nobody knows whether they took effect.
        examples: each finding in words.
    """

    lost: int = 0
    resurrected: int = 0
    different: int = 0
    unexpected: int = 0
    expected: int = 0
    unknown: int = 0
    examples: list[str] = field(default_factory=list)

    def add(self, kind: str, key: str, what: str) -> None:
        """Count one finding of a kind."""
        setattr(self, kind, getattr(self, kind) + 1)
        self.examples.append(f"{kind}: {key}: {what}")


def audit(ledger: Ledger, contents: Mapping[str, Standing]) -> Findings:
    """Compare the ledger with a full scan.

    It rests on what the clients were promised: versions of one key grow, a conditional write
    stands in place of exactly the version it names, a rejected one never takes effect.
    """
    findings = Findings()
    for key, attempts in ledger.attempts.items():
        _audit_key(_History(key, attempts), contents.get(key), findings)
    for key in contents.keys() - ledger.attempts.keys():
        findings.add("unexpected", key, "nobody has ever written this document")
    return findings


class _History:
    """One key's writes, sorted."""

    def __init__(self, key: str, attempts: list[Attempt]) -> None:
        self.key = key
        self.acknowledged = [a for a in attempts if a.state is State.ACKNOWLEDGED]
        self.unknown = [a for a in attempts if a.state in (State.UNKNOWN, State.SENT)]
        self.rejected = {a.digest for a in attempts if a.state is State.REJECTED}
        self.attempts = attempts
        self.documents = [a for a in self.acknowledged if a.version is not None]
        self._versions = {a.digest: a.version for a in self.documents}
        self._possible = {a.digest for a in self.unknown}

    def over(self, attempt: Attempt) -> str | None:
        """The version in whose place a write stands, as far as it is known."""
        return attempt.over or self._versions.get(attempt.over_digest)

    def explains(self, digest: str) -> bool:
        """Whether a write of unknown outcome may have left this value."""
        return digest in self._possible

    def deletions(self, document: Attempt) -> tuple[bool, bool]:
        """Whether a document was deleted for certain, and whether it may have been.

        A deletion that names no version has deleted what was acknowledged before it was sent; of
        what was under way at the same time it is not known.
        """
        certain, possible = False, any(a.digest is None for a in self.unknown)
        for deletion in (a for a in self.acknowledged if a.digest is None):
            if deletion.over is not None:
                certain |= deletion.over == document.version
            elif document.answered is not None and document.answered < deletion.number:
                certain = True
            elif deletion.answered is not None and document.number < deletion.answered:
                possible = True
        return certain, certain or possible


def _audit_key(history: _History, standing: Standing | None, findings: Findings) -> None:
    findings.unknown += len(history.unknown)
    _audit_chain(history, findings)
    newest = _last(history, standing)
    certain, possible = (True, True) if newest is None else history.deletions(newest)
    findings.expected += not certain and (standing is not None or not possible)
    if standing is not None:
        _audit_standing(history, standing, newest, findings, deleted=certain)
    elif newest is not None and not possible:
        findings.add("lost", history.key, f"no document, and {_told(newest)}")


def _last(history: _History, standing: Standing | None) -> Attempt | None:
    """The write that came last: of the largest version, but for one that was deleted before."""
    newest = max(history.documents, key=lambda a: a.version or "", default=None)
    if standing is not None and newest is not None and newest.version is not None:
        for attempt in history.documents:
            if attempt.version == standing.version and may_follow(
                attempt, newest.version, history.attempts
            ):
                return attempt
    return newest


def _audit_standing(
    history: _History,
    standing: Standing,
    newest: Attempt | None,
    findings: Findings,
    *,
    deleted: bool,
) -> None:
    same = [a for a in history.documents if a.version == standing.version]
    if same and all(a.digest != standing.digest for a in same):
        findings.add("different", history.key, f"other content, and {_told(same[0])}")
    elif same and deleted:
        findings.add("resurrected", history.key, f"{_told(same[0])}, and deleted after that")
    elif same and newest is not None and newest.version != standing.version:
        findings.add("lost", history.key, f"stands as {_told(same[0])}, and later {_told(newest)}")
    elif not same and standing.digest in history.rejected:
        findings.add("unexpected", history.key, "a rejected write stands there")
    elif not same and not history.explains(standing.digest):
        findings.add("unexpected", history.key, "no write explains what stands there")


def _audit_chain(history: _History, findings: Findings) -> None:
    """Every acknowledged conditional write must have had a predecessor of its own."""
    known = {a.version for a in history.documents}
    taken: dict[str, Attempt] = {}
    for attempt in history.acknowledged:
        over = history.over(attempt)
        if over is None:
            if attempt.over_digest is not None and not history.explains(attempt.over_digest):
                findings.add("unexpected", history.key, f"{_told(attempt)} over no known write")
            continue
        if over not in known and not history.unknown:
            findings.add("unexpected", history.key, f"{_told(attempt)} over no known write")
        first = taken.setdefault(over, attempt)
        if first is not attempt:
            findings.add("lost", history.key, f"{_told(first)} and {_told(attempt)}, over the same")


def _told(attempt: Attempt) -> str:
    version = "" if attempt.version is None else f" as {attempt.version}"
    return f"{attempt.kind} #{attempt.number} was acknowledged{version}"
