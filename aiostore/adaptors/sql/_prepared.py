"""Statements as drivers take them: SQLAlchemy compiles each once, and is not asked again."""

from collections.abc import Mapping
from typing import Any, cast

from sqlalchemy.engine.interfaces import Dialect
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.elements import ClauseElement

_NO_VALUES: Mapping[str, Any] = {}


class Prepared:
    """A statement's text, and how its parameters are passed.

    Args:
        statement: any of SQLAlchemy's. Values that stand in it go along with every execution.
        dialect: SQLAlchemy's, of the database and its driver.
    """

    __slots__ = ("_fixed", "_names", "text")

    def __init__(self, statement: ClauseElement, dialect: Dialect) -> None:
        made = statement.compile(dialect=dialect, compile_kwargs={"render_postcompile": True})
        compiled = cast("SQLCompiler", made)  # of whatever is no DDL
        self.text = str(compiled)
        self._names = tuple(compiled.positiontup or ())
        # Not `params`, where names are escaped that are not in the places of some versions.
        self._fixed = {name: bind.effective_value for bind, name in compiled.bind_names.items()}

    def __repr__(self) -> str:
        return f"<Prepared {self.text}>"

    def arguments(self, values: Mapping[str, Any] = _NO_VALUES) -> tuple[Any, ...]:
        """The arguments in the order of the text's places."""
        fixed = self._fixed
        return tuple(values[name] if name in values else fixed[name] for name in self._names)
