"""Documents as files: one readable JSON file each, in a folder for each collection.

Stored shape: `FOLDER/COLLECTION/KEY.json`, holding the key, the version, the dates and the value.
Names are an injective escape of the key, on file systems that fold case too; a key whose escape is
too long is named by its hash, and the file tells the key. `FOLDER/aiostore.json` names the format
and, while an atomic write is being carried out, holds its journal.
Consistency: writes pass through one thread, so each decides its condition and stores in one step;
a reader sees the old or the new file, never a part. A write is acknowledged once the file and its
folder are on disk (fsync); a batch shares the waiting. A crash at any point leaves the old or the
new document, and of an atomic write all or none: what its journal names is carried out at the next
`open`. After an error of the disk the next write first finishes what was begun, and fails if it
cannot.
Limits: one process owns the folder; a second is refused. POSIX systems.
Cost: an open, write, fsync and rename a write; an atomic write of several documents waits for the
disk seven times, a batch of them twice; a file opened a read; an fsync for each collection at
`open`. What walks through a collection holds the names of its files in memory meanwhile.
"""

from aiostore.adaptors.files.adaptor import FileAdaptor
from aiostore.adaptors.files.urls import from_url

__all__ = ["FileAdaptor", "from_url"]
