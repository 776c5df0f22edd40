"""The demo's judge, on made-up histories: each kind of loss must be found, and nothing else."""

from typing import Any

import pytest

from aiostore.cli.demo.audit import Findings, Standing, audit
from aiostore.cli.demo.ledger import Attempt, Ledger, digest

KEY = "LOWW"
KINDS = ("lost", "resurrected", "different", "unexpected")


def value(revision: str) -> dict[str, Any]:
    """A document's value, one for each revision."""
    return {"name": "Vienna", "revision": revision}


class History:
    """A ledger, told in a few words."""

    def __init__(self) -> None:
        self.entries: list[dict[str, Any]] = []
        self.ledger = Ledger(self.entries.append)

    def write(self, version: str, *, over: str | None = None) -> Attempt:
        """A write of the revision of the same name, acknowledged."""
        attempt = self.send(version, over=over)
        self.ledger.acknowledge(attempt, version)
        return attempt

    def send(self, revision: str, *, over: str | None = None) -> Attempt:
        """A write, sent and not yet answered."""
        return self.ledger.send("put", KEY, value(revision), over=over)

    def delete(self, over: str | None = None) -> Attempt:
        """A deletion, acknowledged."""
        attempt = self.ledger.send("delete", KEY, None, over=over)
        self.ledger.acknowledge(attempt, None)
        return attempt

    def found(self, version: str | None, revision: str | None = None) -> Findings:
        """What the audit says if this stands in the end."""
        if version is None:
            return audit(self.ledger, {})
        standing = Standing(version, digest(value(revision or version)))
        return audit(self.ledger, {KEY: standing})


@pytest.fixture
def history() -> History:
    """An empty one."""
    return History()


def counts(findings: Findings) -> dict[str, int]:
    """The counts that are not zero."""
    return {kind: count for kind in KINDS if (count := getattr(findings, kind))}


def test_what_was_acknowledged_last_may_stand(history: History) -> None:
    """Nothing is found where nothing is wrong."""
    history.write("1")
    history.write("2", over="1")
    findings = history.found("2")
    assert counts(findings) == {}
    assert findings.expected == 1
    assert findings.examples == []


def test_what_was_deleted_may_be_gone(history: History) -> None:
    """A deletion by version, and one whatever stands there."""
    history.write("1")
    history.delete("1")
    assert counts(history.found(None)) == {}
    history.write("2")
    history.delete()
    findings = history.found(None)
    assert counts(findings) == {}
    assert findings.expected == 0


def test_what_was_created_again_may_stand(history: History) -> None:
    """Deletions concern what was there before."""
    history.write("1")
    history.delete("1")
    history.write("2")
    history.delete()
    history.write("3")
    assert counts(history.found("3")) == {}


def test_lost_document(history: History) -> None:
    """An acknowledged document that is gone."""
    history.write("1")
    findings = history.found(None)
    assert counts(findings) == {"lost": 1}
    assert findings.examples == ["lost: LOWW: no document, and put #0 was acknowledged as 1"]


def test_lost_write(history: History) -> None:
    """An older document where a newer one was acknowledged."""
    history.write("1")
    history.write("2", over="1")
    assert counts(history.found("1")) == {"lost": 1}


def test_lost_after_an_older_deletion(history: History) -> None:
    """A deletion does not excuse what was written after it."""
    history.write("1")
    history.delete()
    history.write("2")
    assert counts(history.found(None)) == {"lost": 1}


def test_lost_update(history: History) -> None:
    """Two acknowledged writes in the place of the same version."""
    history.write("1")
    history.write("2", over="1")
    history.write("3", over="1")
    assert counts(history.found("3")) == {"lost": 1}


def test_lost_update_by_a_deletion(history: History) -> None:
    """A write and a deletion in the place of the same version."""
    history.write("1")
    history.write("2", over="1")
    history.delete("1")
    assert counts(history.found("2")) == {"lost": 1}


def test_lost_update_by_value(history: History) -> None:
    """Where a client knows the value that it changed, and not the version."""
    history.write("1")
    for version in ("2", "3"):
        attempt = history.ledger.send("update", KEY, value(version), over_value=value("1"))
        history.ledger.acknowledge(attempt, version)
    assert counts(history.found("3")) == {"lost": 1}


@pytest.mark.parametrize("over", ["1", None])
def test_resurrected(history: History, over: str | None) -> None:
    """A document whose deletion was acknowledged."""
    history.write("1")
    history.delete(over)
    findings = history.found("1")
    assert counts(findings) == {"resurrected": 1}
    assert findings.expected == 0


def test_resurrected_older(history: History) -> None:
    """The one before the one that was deleted is no better."""
    history.write("1")
    history.write("2", over="1")
    history.delete("2")
    assert counts(history.found("1")) == {"resurrected": 1}


def test_different(history: History) -> None:
    """The version that was acknowledged, with other content."""
    history.write("1")
    assert counts(history.found("1", "x")) == {"different": 1}


def test_a_document_that_nobody_wrote(history: History) -> None:
    """Of an unknown key, or an unknown version of a known one."""
    assert counts(history.found("1")) == {"unexpected": 1}
    history.write("1")
    assert counts(history.found("2", "x")) == {"unexpected": 1}


def test_a_rejected_write_stands(history: History) -> None:
    """What was refused must not be there."""
    history.write("1")
    history.ledger.reject(history.send("2", over="1"))
    findings = history.found("2")
    assert counts(findings) == {"unexpected": 1}
    assert findings.examples == ["unexpected: LOWW: a rejected write stands there"]


def test_a_write_over_a_version_that_nobody_wrote(history: History) -> None:
    """A conditional write was acknowledged, and its predecessor never was."""
    history.write("1")
    history.write("3", over="2")
    assert counts(history.found("3")) == {"unexpected": 1}


def test_an_update_of_a_rejected_value(history: History) -> None:
    """Likewise where the client knows the value alone."""
    history.write("1")
    history.ledger.reject(history.send("2"))
    attempt = history.ledger.send("update", KEY, value("3"), over_value=value("2"))
    history.ledger.acknowledge(attempt, "3")
    assert counts(history.found("3")) == {"unexpected": 1}


@pytest.mark.parametrize("stands", ["1", "2"])
def test_a_write_of_unknown_outcome_may_stand_or_not(history: History, stands: str) -> None:
    """Nobody was told, so neither is a loss."""
    history.write("1")
    history.ledger.doubt(history.send("2", over="1"))
    findings = history.found(stands)
    assert counts(findings) == {}
    assert findings.unknown == 1


@pytest.mark.parametrize("stands", ["1", None])
def test_a_deletion_of_unknown_outcome(history: History, stands: str | None) -> None:
    """Likewise."""
    history.write("1")
    history.ledger.doubt(history.ledger.send("delete", KEY, None, over="1"))
    assert counts(history.found(stands)) == {}


@pytest.mark.parametrize("stands", ["1", None])
def test_a_deletion_at_the_same_time(history: History, stands: str | None) -> None:
    """A deletion that names no version may come before or after a write beside it."""
    attempt = history.send("1")
    deletion = history.ledger.send("delete", KEY, None)
    history.ledger.acknowledge(attempt, "1")
    history.ledger.acknowledge(deletion, None)
    findings = history.found(stands)
    assert counts(findings) == {}
    assert findings.expected == (stands is not None)


def test_clean_reads(history: History) -> None:
    """The last write, and one on its way that is then acknowledged."""
    history.write("1")
    history.ledger.saw(KEY, "1", value("1"), history.ledger.newest(KEY))
    attempt = history.send("2")
    history.ledger.saw(KEY, "2", value("2"), history.ledger.newest(KEY))
    history.ledger.acknowledge(attempt, "2")
    history.delete("2")
    history.ledger.missed(KEY, history.ledger.newest(KEY))
    assert (history.ledger.dirty, history.ledger.stale) == (0, 0)


def test_dirty_read_of_nothing_that_was_written(history: History) -> None:
    """A value that no client has sent."""
    history.ledger.saw(KEY, "1", value("1"))
    assert history.ledger.dirty == 1


def test_dirty_read_of_a_rejected_write(history: History) -> None:
    """Before its answer, and after it."""
    attempt = history.send("1")
    history.ledger.saw(KEY, "1", value("1"))
    assert history.ledger.dirty == 0
    history.ledger.reject(attempt)
    assert history.ledger.dirty == 1
    history.ledger.saw(KEY, "1", value("1"))
    assert history.ledger.dirty == 2


def test_dirty_read_of_another_version(history: History) -> None:
    """A value under a version that is not its own."""
    history.write("1")
    history.ledger.saw(KEY, "2", value("1"))
    assert history.ledger.dirty == 1


def test_stale_reads(history: History) -> None:
    """Older than what was acknowledged before the read began, or nothing at all."""
    history.write("1")
    history.write("2")
    history.ledger.saw(KEY, "1", value("1"), "2")
    history.ledger.missed(KEY, "2")
    assert (history.ledger.dirty, history.ledger.stale) == (0, 2)


@pytest.mark.parametrize("over", ["2", None])
def test_an_older_version_after_a_newer_one_was_deleted(history: History, over: str | None) -> None:
    """What was on its way when a plain store deleted the newer version may stand after that."""
    late = history.send("1")
    history.write("2")
    history.delete(over)
    history.ledger.acknowledge(late, "1")
    history.ledger.saw(KEY, "1", value("1"), history.ledger.newest(KEY))
    findings = history.found("1")
    assert (history.ledger.stale, counts(findings), findings.expected) == (0, {}, 1)


def test_an_older_version_before_a_newer_one_was_deleted(history: History) -> None:
    """What was acknowledged before the deletion was sent, or what that cannot have met, may not."""
    late = history.send("1")
    history.delete()
    history.write("2")
    history.ledger.acknowledge(late, "1")
    history.ledger.saw(KEY, "1", value("1"), history.ledger.newest(KEY))
    assert (history.ledger.stale, counts(history.found("1"))) == (1, {"lost": 1})
    history.delete("2")
    history.ledger.saw(KEY, "1", value("1"), history.ledger.newest(KEY))
    assert history.ledger.stale == 2
    assert counts(history.found("1")) == {"resurrected": 1}


def test_every_entry_is_written(history: History) -> None:
    """The file tells what was sent before it was answered."""
    history.write("1")
    history.ledger.reject(history.send("2", over="1"))
    history.delete("1")
    assert history.entries == [
        {"number": 0, "kind": "put", "key": KEY, "digest": digest(value("1"))},
        {"number": 0, "answer": "acknowledged", "version": "1"},
        {"number": 2, "kind": "put", "key": KEY, "digest": digest(value("2")), "over": "1"},
        {"number": 2, "answer": "rejected"},
        {"number": 4, "kind": "delete", "key": KEY, "digest": None, "over": "1"},
        {"number": 4, "answer": "acknowledged"},
    ]


def test_the_judge_knows_nothing_of_the_library() -> None:
    """A bug of the library cannot hide in the code that judges it."""
    for module in (audit.__globals__, Ledger.__init__.__globals__):
        names = {getattr(thing, "__module__", None) for thing in module.values()}
        ours = {name for name in names if name is not None and name.startswith("aiostore")}
        assert ours <= {"aiostore.cli.demo.audit", "aiostore.cli.demo.ledger"}
