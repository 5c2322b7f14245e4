"""Scripts run on hostile input, each in a fork of its own with bounded time and memory.

Whatever is put in, a script says one sentence that a user can act on and writes nothing, or it
does what is right.
"""

import os
import resource
import signal
import sys
import traceback
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import pytest

MEMORY_BYTES = 1 << 30
"""What a script may take beside what this process holds already."""
# A machine with other work gives few of its seconds; who waits for nothing takes none of the CPU's.
_CPU_SECONDS, _SECONDS = 60, 600
_SENTENCE_CHARACTERS = 900
_FOREIGN = ("Traceback", "defect", "Warning:", "object at 0x", "<class '", "KeyError")


@dataclass(frozen=True)
class Outcome:
    """How a script ended: `status` is negative after a signal; `peak` bytes of memory."""

    status: int
    output: str
    errors: str
    peak: int

    @property
    def sentence(self) -> str:
        """The one line in which a script says what is wrong."""
        found = [line for line in self.errors.splitlines() if line.startswith("error: ")]
        assert len(found) == 1, f"no sentence, or several:\n{self.errors[-3000:]}"
        return found[0]


def run(script: ModuleType, *arguments: object, folder: Path) -> Outcome:
    """Run a script's `main` in a fork of this process; `folder` takes what it prints."""
    if "torch" in sys.modules:
        # Threads do not survive a fork.
        sys.modules["torch"].set_num_threads(1)
    printed = [folder / ".output", folder / ".errors"]
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    process = os.fork()
    if not process:
        os._exit(_in_fork(script, list(map(str, arguments)), printed))
    _, ended, usage = os.wait4(process, 0)
    status = os.waitstatus_to_exitcode(ended)
    texts = [path.read_text("utf-8", errors="backslashreplace") for path in printed]
    return Outcome(status, *texts, (usage.ru_maxrss - before) << 10)


def _in_fork(script: ModuleType, arguments: list[str], printed: list[Path]) -> int:
    for number, path in enumerate(printed, start=1):
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(descriptor, number)
    streams = [open(number, "w", encoding="utf-8", errors="backslashreplace") for number in (1, 2)]  # noqa: SIM115
    sys.stdout, sys.stderr = streams
    held = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10
    resource.setrlimit(resource.RLIMIT_DATA, (8 * MEMORY_BYTES + held,) * 2)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    resource.setrlimit(resource.RLIMIT_CPU, (_CPU_SECONDS,) * 2)
    signal.alarm(_SECONDS)
    try:
        status = script.main(arguments)
    except SystemExit as error:
        status = error.code if isinstance(error.code, int) else 70
    except BaseException:
        traceback.print_exc()
        status = 70
    for stream in streams:
        stream.flush()
    return int(status)


def check(outcome: Outcome, named: str | None = None) -> bool:
    """Assert that a script refused its input in one sentence, or did its work; returns which.

    named: what the sentence must name, such as a file. What was done is for the caller to judge.
    """
    assert outcome.status in (0, 1), (
        f"ended with {outcome.status}:\n{outcome.output[-500:]}{outcome.errors[-3000:]}"
    )
    assert outcome.peak < MEMORY_BYTES, f"took {outcome.peak >> 20} MiB"
    for word in _FOREIGN:
        assert word not in outcome.errors, outcome.errors[-3000:]
    if outcome.status == 0:
        return False
    assert len(outcome.sentence) <= _SENTENCE_CHARACTERS, outcome.sentence
    if named is not None:
        assert named in outcome.sentence, outcome.sentence
    return True


def by_name(cases: dict[str, object]) -> pytest.MarkDecorator:
    """Run a test for each of the named cases, as its argument `case`."""
    return pytest.mark.parametrize("case", cases.values(), ids=list(cases))
