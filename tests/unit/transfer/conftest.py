"""A server with a file, and time that nobody waits for."""

from collections.abc import Iterator

import pytest

from cloze.fetch import web
from tests.file_server import FileServer
from tests.unit.transfer.downloads import CONTENT


@pytest.fixture
def server() -> Iterator[FileServer]:
    server = FileServer()
    server.files["/data.bin"] = CONTENT
    yield server
    server.close()


@pytest.fixture(autouse=True)
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The waits between attempts, which are noted and not sat out."""
    waits: list[float] = []
    monkeypatch.setattr(web.time, "sleep", waits.append)
    return waits
