"""What every command line shares: parsers, argument types, logs, progress, exit codes."""

import argparse
import contextlib
import inspect
import logging
import math
import os
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tqdm import tqdm

from cloze.errors import ClozeError
from cloze.files import describe_os_error
from cloze.machine import available_cores

log = logging.getLogger("cloze")
# Set where another process shows how far scripts are: each then writes it beside its log.
PROGRESS_VARIABLE, PROGRESS_SECONDS = "CLOZE_PROGRESS", 0.5
# Back to the start of a terminal's line, and nothing on it.
CLEAR_LINE = "\r\033[K"


class HelpFormatter(argparse.ArgumentDefaultsHelpFormatter, argparse.RawDescriptionHelpFormatter):
    """Keeps the description's line breaks and prints every default."""


def make_parser(docstring: str | None) -> argparse.ArgumentParser:
    """Return a parser that describes itself with a script's docstring and takes `--log`."""
    parser = argparse.ArgumentParser(
        description=inspect.cleandoc(docstring or ""), formatter_class=HelpFormatter
    )
    parser.add_argument("--log", type=Path, help="also write log messages to this file")
    return parser


@dataclass(frozen=True)
class Number:
    """argparse type: a finite number within bounds; `above` is itself excluded."""

    kind: type[int] | type[float]
    minimum: float | None = None
    above: float | None = None
    maximum: float | None = None

    def __call__(self, text: str) -> Any:
        """Return the number that a text stands for."""
        try:
            value = self.kind(text)
        except ValueError as error:
            raise argparse.ArgumentTypeError(f"{text!r} is not {self}") from error
        if not math.isfinite(value) or not self.admits(value):
            raise argparse.ArgumentTypeError(f"{text!r} is not {self}")
        return value

    def admits(self, value: float) -> bool:
        """Return whether a value lies within the bounds."""
        return (
            (self.minimum is None or value >= self.minimum)
            and (self.above is None or value > self.above)
            and (self.maximum is None or value <= self.maximum)
        )

    def __str__(self) -> str:
        what = "a whole number" if self.kind is int else "a number"
        if self.above is not None:
            what += f" above {self.above}"
            return what if self.maximum is None else f"{what} and at most {self.maximum}"
        if self.minimum is None:
            return what
        if self.maximum is None:
            return f"{what} of {self.minimum} or more"
        return f"{what} from {self.minimum} to {self.maximum}"


positive_int = Number(int, minimum=1)
non_negative_int = Number(int, minimum=0)
percentage = Number(int, minimum=1, maximum=99)
positive_float = Number(float, above=0)
non_negative_float = Number(float, minimum=0)
probability = Number(float, minimum=0, maximum=1)


def key_value(text: str) -> tuple[str, str]:
    """argparse type: `KEY=VALUE`, the key not empty."""
    key, equals, value = text.partition("=")
    if not equals or not key:
        raise argparse.ArgumentTypeError(f"{text!r} is not KEY=VALUE")
    return key, value


def capped_threads(args: argparse.Namespace) -> int:
    """Return `args.threads`, never more than the cores this process may use."""
    return min(int(args.threads), available_cores())


def draws_progress() -> bool:
    """Return whether progress bars are drawn: on a terminal on which no other process draws."""
    return _progress_file is None and sys.stderr.isatty()


def progress(
    iterable: Iterable[Any] | None = None,
    *,
    total: float | None = None,
    unit: str = "it",
    description: str | None = None,
    **options: Any,
) -> tqdm:
    """Return a progress bar on standard error; silent where that is no terminal.

    Where `PROGRESS_VARIABLE` is set, the share that is done goes to `progress_file` instead.
    """
    if _progress_file is not None:
        options |= {"file": _ProgressFile(_progress_file), "mininterval": PROGRESS_SECONDS}
        options["bar_format"] = "{desc}: {percentage:.1f}"
    return tqdm(
        iterable,
        total=total,
        unit=unit,
        desc=description,
        disable=_progress_file is None and not sys.stderr.isatty(),
        dynamic_ncols=_progress_file is None,
        smoothing=0.1,
        **options,
    )


def progress_file(log_file: Path) -> Path:
    """Return where a script with this log writes how far it is: `{description}: {percentage}`."""
    return log_file.with_suffix(".progress")


_progress_file: Path | None = None


class _ProgressFile:
    """The last text of a progress bar as the content of a file."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def write(self, text: str) -> None:
        text = text.strip()
        # tqdm also writes what moves the cursor.
        if text and text.isprintable():
            # What only shows must end no job.
            with contextlib.suppress(OSError):
                self._path.write_text(text, encoding="utf-8")

    def flush(self) -> None:
        pass


class _BarFriendlyHandler(logging.Handler):
    """Prints above a live progress bar, its own or that of another process, not through it."""

    def emit(self, record: logging.LogRecord) -> None:
        is_shared = _progress_file is not None and sys.stderr.isatty()
        tqdm.write((CLEAR_LINE if is_shared else "") + self.format(record), file=sys.stderr)


def _set_up_logging(log_file: Path | None) -> None:
    global _progress_file
    _progress_file = (
        progress_file(log_file) if log_file and PROGRESS_VARIABLE in os.environ else None
    )
    log.handlers.clear()
    log.setLevel(logging.INFO)
    log.propagate = False
    console = _BarFriendlyHandler()
    console.setFormatter(logging.Formatter("%(message)s"))
    if not draws_progress():
        console.setLevel(logging.WARNING)
    log.addHandler(console)
    if log_file is not None:
        log_file.parent.mkdir(parents=True, exist_ok=True)
        log.addHandler(_file_handler(log_file, "w"))


def _file_handler(path: Path, mode: str) -> logging.FileHandler:
    # The name of a file may hold bytes that are no UTF-8.
    handler = logging.FileHandler(path, mode, encoding="utf-8", errors="backslashreplace")
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    return handler


def append_log(path: Path) -> None:
    """From now on add what this script logs to the end of a file, too."""
    log.addHandler(_file_handler(path, "a"))


def _one_line(text: str) -> str:
    """Return a message without the line ends that names of files and of libraries' errors have."""
    return " ".join(text.split("\n"))


def run_script(
    parser: argparse.ArgumentParser,
    run: Callable[[argparse.Namespace], None],
    argv: list[str] | None,
) -> int:
    """Parse `argv`, call `run` and turn what went wrong into an exit code.

    Returns 0 on success, 1 after a `ClozeError` or a refusal of the file system
    (printed as one line), 130 when interrupted. argparse itself exits with 2.
    Anything else is a defect of Cloze and keeps its traceback.
    """
    args = parser.parse_args(argv)
    try:
        _set_up_logging(args.log)
        run(args)
    except ClozeError as error:
        log.error("error: %s", _one_line(str(error)))
        return 1
    except OSError as error:
        log.error("error: %s", _one_line(describe_os_error(error)))
        return 1
    except KeyboardInterrupt:
        log.error("interrupted")
        return 130
    except Exception:
        log.exception("defect: an error that Cloze did not foresee")
        return 1
    return 0
