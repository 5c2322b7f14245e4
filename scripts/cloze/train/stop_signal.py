"""SIGTERM as a wish that is granted between two steps."""

import signal
from types import FrameType, TracebackType


class StopSignal:
    """A context in which SIGTERM is noted in `received` instead of ending the process."""

    def __init__(self) -> None:
        self.received = False

    def __enter__(self) -> None:
        self._previous = signal.signal(signal.SIGTERM, self._note)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        signal.signal(signal.SIGTERM, self._previous)

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.received = True
