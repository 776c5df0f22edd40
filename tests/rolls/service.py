"""A small service, one process of several: `python service.py --store JSON --port PORT`.

It keeps documents in the store that it is given: a URL, or a migration's mapping. Its ETags are the
documents' versions. Until it gets SIGTERM; then it ends what is under way. During a migration it
also takes the operator's steps, for an operator who is another process.
"""

import argparse
import json
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Any

import uvicorn
from fastapi import APIRouter, Depends, FastAPI, Header, Request, Response
from fastapi.responses import JSONResponse
from steps import STEPS

from aiostore import (
    AlreadyExistsError,
    Collection,
    ConflictError,
    NotFoundError,
    Store,
    StoreError,
    UnavailableError,
    open_store,
)
from aiostore.migration import MigrationAdaptor, Progress

COLLECTION = "documents"
PAGE = 50

KEEP_ALIVE = 3600
"""Seconds: a connection that the service closes is lost to who is just sending a request by it."""

KEEP_ALIVE = 3600
"""Seconds: a connection that the service closes is lost to who is just sending a request by it."""

STATUSES: dict[type[StoreError], int] = {
    NotFoundError: 404,
    AlreadyExistsError: 409,
    ConflictError: 412,
    UnavailableError: 503,
}
"""What a client must be ready for; any other error is a fault."""

ROUTES = APIRouter()


def store_of(request: Request) -> Store:
    """The service's store."""
    store: Store = request.app.state.store
    return store


def documents_of(request: Request) -> Collection[dict[str, Any]]:
    """Its documents."""
    return store_of(request).collection(COLLECTION)


Documents = Annotated[Collection[dict[str, Any]], Depends(documents_of)]


@ROUTES.get("/documents/{key}")
async def get(documents: Documents, key: str, response: Response) -> dict[str, Any]:
    """A document."""
    document = await documents.get(key)
    response.headers["ETag"] = document.version
    return document.value


@ROUTES.get("/documents")
async def page(documents: Documents, cursor: str | None = None) -> dict[str, Any]:
    """Some documents with their versions, in the order of their keys, and where the next are."""
    found = await documents.page(size=PAGE, cursor=cursor)
    return {
        "documents": {one.key: [one.version, one.value] for one in found.documents},
        "cursor": found.next_cursor,
    }


@ROUTES.put("/documents/{key}")
async def put(
    documents: Documents,
    *,
    key: str,
    value: dict[str, Any],
    response: Response,
    if_match: Annotated[str | None, Header()] = None,
    if_none_match: Annotated[str | None, Header()] = None,
) -> None:
    """Replace a version, create with `If-None-Match: *`, or put whatever stands there."""
    if if_match is not None:
        stored = await documents.replace(key, value, version=if_match)
    elif if_none_match is not None:
        stored = await documents.create(key, value)
    else:
        stored = await documents.put(key, value)
    response.headers["ETag"] = stored.version


@ROUTES.delete("/documents/{key}")
async def delete(
    documents: Documents, key: str, if_match: Annotated[str | None, Header()] = None
) -> None:
    """Delete a version, or whatever stands there, if anything does."""
    await documents.delete(key, version=if_match, missing_ok=if_match is None)


@ROUTES.post("/steps/{step}")
async def take(request: Request, step: str, die_at: float | None = None) -> Any:
    """Take a step of the operator's; with `die_at`, die by SIGKILL at that part of it."""

    def report(progress: Progress) -> None:
        if die_at is not None and progress.done >= die_at * progress.total:
            os.kill(os.getpid(), signal.SIGKILL)

    return await STEPS[step](MigrationAdaptor.of(store_of(request)), report)


async def refused(_: Request, error: Exception) -> JSONResponse:
    """The answer to a request that the store has refused."""
    status = next(status for kind, status in STATUSES.items() if isinstance(error, kind))
    if isinstance(error, AlreadyExistsError | ConflictError):
        return JSONResponse(str(error), status, {"ETag": error.current.version})
    return JSONResponse(str(error), status)


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    """The store is open as long as the service runs."""
    async with app.state.store:
        yield


def main() -> None:
    """Serve at a port of 127.0.0.1."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--store", type=json.loads, required=True)
    parser.add_argument("--port", type=int, required=True)
    arguments = parser.parse_args()
    app = FastAPI(lifespan=lifespan)
    app.state.store = open_store(arguments.store)
    app.include_router(ROUTES)
    for kind in STATUSES:
        app.add_exception_handler(kind, refused)
    uvicorn.run(
        app,
        host="127.0.0.1",
        port=arguments.port,
        log_level="warning",
        access_log=False,
        timeout_keep_alive=KEEP_ALIVE,
    )


if __name__ == "__main__":
    main()
