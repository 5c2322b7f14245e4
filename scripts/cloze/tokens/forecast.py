"""How long a shard will take and how large it will be, said after its first megabytes."""

import shutil
import time
from pathlib import Path

from cloze.cli import log
from cloze.corpus.document_reader import count_documents, text_bytes
from cloze.errors import ClozeError

# Compressed token ids take more than half and less than all of their bytes.
_LEAST_COMPRESSED = 0.5


class Forecast:
    """Extrapolates from the first batch of a shard's documents, once."""

    def __init__(self, documents: Path, start: int, stop: int, output: Path) -> None:
        share = (stop - start) / max(1, count_documents(documents))
        self._text_bytes = share * text_bytes(documents)
        self._output = output
        self._started = time.perf_counter()
        self._said = False

    def after(self, batch_text_bytes: int, id_bytes: int) -> None:
        """Log the forecast after the first batch.

        Raises `ClozeError` if the shard cannot fit on its disk.
        """
        if self._said or not batch_text_bytes:
            return
        self._said = True
        factor = max(1.0, self._text_bytes / batch_text_bytes)
        seconds = factor * (time.perf_counter() - self._started)
        size, free = factor * id_bytes, shutil.disk_usage(self._output.parent).free
        log.info("%s: up to %.1f MB on disk, about %.0f s", self._output.name, size / 1e6, seconds)
        if size * _LEAST_COMPRESSED > free:
            raise ClozeError(
                f"{self._output.parent}: the shard {self._output.name} needs some "
                f"{size / 1e9:.1f} GB, the disk has {free / 1e9:.1f} GB left; free some space"
            )
