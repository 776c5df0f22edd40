from inspect import isclass

import aiostore
from aiostore import errors

DOCUMENTED = {
    *("open_store", "Store", "Collection", "Document", "Page", "Plan", "Analysis", "F"),
    *("Limits", "Usage", "metered", "Retries", "Transaction", "TwoWayIndex"),
}


def test_the_names_of_the_package() -> None:
    """`aiostore` exports what a user needs, in order: the store, its parts and every error."""
    every_error = {
        name
        for name, class_ in vars(errors).items()
        if isclass(class_) and issubclass(class_, Exception) and not name.startswith("_")
    }
    assert sorted(DOCUMENTED | every_error) == aiostore.__all__


def test_every_exported_name_is_there() -> None:
    """No name in `__all__` is missing from the package."""
    assert [name for name in aiostore.__all__ if not hasattr(aiostore, name)] == []
