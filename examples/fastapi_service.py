"""A service that keeps users; `fastapi dev examples/fastapi_service.py` runs it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from os import environ
from typing import Any

from fastapi import FastAPI, HTTPException

import aiostore

store = aiostore.open_store(environ.get("STORE", "sqlite:///app.db"))
users = store.collection("users")


@asynccontextmanager
async def lifespan(_: FastAPI) -> AsyncIterator[None]:
    """Hold the store open while the service runs."""
    async with store:
        yield


app = FastAPI(lifespan=lifespan)


@app.put("/users/{name}")
async def put_user(name: str, user: dict[str, Any]) -> str:
    """Store a user; returns the version."""
    return (await users.put(name, user)).version


@app.get("/users/{name}")
async def get_user(name: str) -> dict[str, Any]:
    """The user, or 404."""
    try:
        return (await users.get(name)).value
    except aiostore.NotFoundError as error:
        raise HTTPException(404) from error


@app.get("/users")
async def list_users(size: int = 50, cursor: str | None = None) -> dict[str, Any]:
    """A page of users by name, and the cursor of the next one."""
    try:
        page = await users.page(size=size, cursor=cursor)
    except aiostore.InvalidValueError as error:
        raise HTTPException(400, str(error)) from error
    return {
        "users": {user.key: user.value for user in page.documents},
        "next_cursor": page.next_cursor,
    }
