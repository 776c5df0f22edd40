import copy
import pickle
from inspect import getdoc, isclass
from typing import Any

import pytest

from aiostore import errors
from aiostore.errors import BatchError, NotFoundError, StoreError

PUBLIC = {
    name: class_
    for name, class_ in vars(errors).items()
    if isclass(class_) and issubclass(class_, Exception) and not name.startswith("_")
}
OWN: dict[str, dict[str, Any]] = {
    "AlreadyExistsError": {"current": "what stands there"},
    "ConflictError": {"current": "what stands there"},
    "BatchError": {"errors": {"a": NotFoundError("no such")}, "done": {"b": 1}},
}


def make(class_: type[StoreError], **where: str) -> StoreError:
    """An error of this class, with what it must be given."""
    return class_("this went wrong", **OWN.get(class_.__name__, {}), **where)


def public_parent(class_: type) -> str:
    """The nearest ancestor that users know."""
    return next(base.__name__ for base in class_.__mro__[1:] if not base.__name__.startswith("_"))


def tree_as_drawn() -> dict[str, str]:
    """Child to parent, from the drawing in the module's docstring."""
    parents: dict[str, str] = {}
    above = {0: "StoreError"}
    for line in (getdoc(errors) or "").splitlines():
        branch, found, rest = line.partition("── ")
        if found:
            depth = len(branch) // 4 + 1
            name = above[depth] = rest.split()[0]
            parents[name] = above[depth - 1]
    return parents


def test_the_tree_is_as_drawn() -> None:
    """The drawing in the docstring names every class under its parent, and no other."""
    tree = {name: public_parent(class_) for name, class_ in PUBLIC.items()}
    assert tree.pop("StoreError") == "Exception"
    assert tree_as_drawn() == tree


@pytest.mark.parametrize("class_", PUBLIC.values())
def test_a_message_says_what_and_where(class_: type[StoreError]) -> None:
    """Every error's text names the store, the collection and the key."""
    error = make(class_, store="memory://", collection="users", key="alice")
    assert str(error) == ("this went wrong (store 'memory://', collection 'users', key 'alice')")


@pytest.mark.parametrize("class_", PUBLIC.values())
def test_what_is_not_known_is_left_out(class_: type[StoreError]) -> None:
    """An error without a place is its message alone; a place may be filled in later."""
    error = make(class_)
    assert str(error) == "this went wrong"
    error.store = ""
    assert str(error) == "this went wrong (store '')"


@pytest.mark.parametrize("class_", PUBLIC.values())
@pytest.mark.parametrize(
    "copied",
    [copy.copy, lambda error: pickle.loads(pickle.dumps(error))],  # noqa: S301  # our own
    ids=["copy", "pickle"],
)
def test_errors_can_be_copied(copied: Any, class_: type[StoreError]) -> None:
    """An error passes from one process to another with all that it tells."""
    error = make(class_, store="memory://", key="alice")
    copy_ = copied(error)
    assert type(copy_) is class_
    assert str(copy_) == str(error)
    assert vars(copy_).keys() == vars(error).keys()


def test_a_long_key_is_shortened() -> None:
    """A key of a thousand characters does not flood the log."""
    message = str(StoreError("no", key="k" * 1000))
    assert "k" * 120 + "'…" in message
    assert "k" * 121 not in message


def test_what_an_error_holds() -> None:
    """A refused write holds what stands there; a failed batch what failed and what did not."""
    assert make(errors.ConflictError).__dict__["current"] == "what stands there"
    batch = make(BatchError)
    assert isinstance(batch, BatchError)
    assert (list(batch.errors), batch.done) == (["a"], {"b": 1})
