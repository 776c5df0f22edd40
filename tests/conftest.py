"""What every test gets: a watch on the event loop, and on what is left behind."""

import asyncio
import os
import threading
from collections.abc import AsyncIterator, Iterator

import pytest
from blockbuster import BlockBuster, blockbuster_ctx
from coverage import Coverage
from dynamodb_servers import NOBODYS_ENVIRONMENT
from hypothesis import HealthCheck, settings
from servers import close_servers, variable

pytest_plugins = ["aiostore.testing.plugin", "pytester"]

# A machine that is busy with something else is no fault of what is tested.
settings.register_profile("patient", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("patient")


@pytest.fixture(scope="session", autouse=True)
def nobodys_credentials() -> Iterator[None]:
    """No credentials of the person's who runs the tests are used, unless for a server of theirs."""
    with pytest.MonkeyPatch.context() as environment:
        if variable("dynamodb") not in os.environ:
            for name in [name for name in os.environ if name.startswith("AWS_")]:
                environment.delenv(name)
            for name, value in NOBODYS_ENVIRONMENT.items():
                environment.setenv(name, value)
        yield


@pytest.fixture(scope="session", autouse=True)
def measuring_waits_for_nobody() -> None:
    """Coverage is measured without its lock, which has been seen to be held for ever.

    What it guards is the first line of a file that two threads are in at once: one line may be
    missed, of those that were run only there.
    """
    measuring = Coverage.current()
    if measuring is not None:
        collector = measuring._collector  # there is no option for it
        assert collector is not None
        collector.data_lock = None


@pytest.fixture(autouse=True)
def nothing_blocks_the_loop() -> Iterator[BlockBuster]:
    """A call that blocks while the event loop runs fails the test."""
    with blockbuster_ctx("aiostore") as watch:
        # A path that is absolute already costs no system call.
        watch.functions["os.path.abspath"].can_block_in("pysqlite.py", "create_connect_args")
        # With each connection asyncpg looks for a user's own certificates in the home folder.
        for name, caller in (
            ("os.path.abspath", "_dot_postgresql_path"),
            ("os.stat", "_parse_connect_dsn_and_args"),
        ):
            watch.functions[name].can_block_in("asyncpg/connect_utils.py", caller)
        # Credentials are found by a loop of its own, in a thread.
        for function in watch.functions.values():
            function.can_block_in("dynamodb/_connections.py", "_session")
        yield watch


@pytest.fixture(autouse=True)
async def nothing_is_left_behind() -> AsyncIterator[None]:
    """A test that leaves a task or a thread of the library's running fails."""
    threads = set(threading.enumerate())
    yield
    left = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
    assert left == []
    ours = [
        thread
        for thread in set(threading.enumerate()) - threads
        if not thread.name.startswith("asyncio_")
    ]
    for thread in ours:
        await asyncio.to_thread(thread.join, 1.0)  # one that has answered may still be returning
    assert [thread.name for thread in ours if thread.is_alive()] == []


def pytest_sessionfinish() -> None:
    """The database servers that tests have shared end with them."""
    close_servers()
