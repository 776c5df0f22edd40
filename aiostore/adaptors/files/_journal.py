"""The file that names a store's format and holds the journal of an atomic write.

Version 1 is a store at rest. Version 2 is one in which an atomic write was decided and has to be
carried out before anything else is done: the new documents lie beside their places under temporary
names, and the journal tells where each belongs and which documents go. The two are one file so that
a single rename commits, and so that a version of aiostore that knows no journal refuses the folder
meanwhile and does not take the half-done for the whole.
"""

from collections.abc import Sequence
from uuid import UUID

import msgspec

from aiostore.adaptors.files._disk import digest
from aiostore.protocols import DocumentId

_NAME = "aiostore files"
_AT_REST = 1
_WITH_JOURNAL = 2
FORMAT = b'{"format": "aiostore files", "version": 1}\n'


class Change(msgspec.Struct, frozen=True, omit_defaults=True):
    """What becomes of one document.

    Attributes:
        collection: where it stands.
        key: likewise.
        temporary: the name of the file that takes its place; None if the document goes.
        sha256: the digest of that file.
    """

    collection: str
    key: str
    temporary: UUID | None = None
    sha256: str = ""

    @property
    def id(self) -> DocumentId:
        """The document's id."""
        return DocumentId(self.collection, self.key)


class _FormatFile(msgspec.Struct, omit_defaults=True, forbid_unknown_fields=True):
    format: str
    version: int
    sha256: str = ""
    journal: msgspec.Raw = msgspec.Raw()


def format_with(changes: Sequence[Change]) -> bytes:
    """The content of the format file that commits these changes."""
    journal = msgspec.json.encode(changes)
    return msgspec.json.encode(
        _FormatFile(_NAME, _WITH_JOURNAL, digest(journal), msgspec.Raw(journal))
    )


def changes_in(content: bytes) -> list[Change] | None:
    """The changes that are to be carried out yet, none at rest; None if it is no format of ours.

    Raises:
        ValueError: there is a journal, and it is damaged.
    """
    try:
        found = msgspec.json.decode(content, type=_FormatFile)
    except (msgspec.DecodeError, UnicodeError):
        return None
    journal = bytes(found.journal)
    if found.format == _NAME and found.version == _AT_REST and not journal:
        return []
    if found.format != _NAME or found.version != _WITH_JOURNAL or not journal:
        return None
    if digest(journal) != found.sha256:
        raise ValueError("its checksum is wrong")
    return msgspec.json.decode(journal, type=list[Change])
