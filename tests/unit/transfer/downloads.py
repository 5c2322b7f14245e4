"""A file to fetch, and what tests do with it and where it goes."""

import hashlib
import random
from pathlib import Path

import pytest

from cloze.fetch import transfer, web
from cloze.fetch.transfer import PartialFile
from tests.file_server import FileServer

CONTENT = random.Random(1).randbytes(700_000)
SHA256 = hashlib.sha256(CONTENT).hexdigest()


def leave_partial(server: FileServer, output: Path) -> int:
    """Fetch a part of the file as a killed process leaves it and return its size."""
    with PartialFile(output) as partial:
        server.script = [server.dropped_after(300_000)]
        with pytest.raises(web.TransientError):
            transfer._fetch_rest(f"{server.url}/data.bin", partial, None)
        server.requests.clear()
        return partial.size


def files_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())
