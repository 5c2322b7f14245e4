"""What every command line shares: parsers, argument types, logs, progress, exit codes."""

import argparse
import inspect
import logging
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from tqdm import tqdm

from cloze.errors import ClozeError
from cloze.files import describe_os_error
from cloze.machine import available_cores

log = logging.getLogger("cloze")


class HelpFormatter(argparse.ArgumentDefaultsHelpFormatter, argparse.RawDescriptionHelpFormatter):
    """Keeps the description's line breaks and prints every default."""


def make_parser(docstring: str | None) -> argparse.ArgumentParser:
    """Return a parser that describes itself with a script's docstring and takes `--log`."""
    parser = argparse.ArgumentParser(
        description=inspect.cleandoc(docstring or ""), formatter_class=HelpFormatter
    )
    parser.add_argument("--log", type=Path, help="also write log messages to this file")
    return parser


def positive_int(text: str) -> int:
    """argparse type: a whole number of 1 or more."""
    return _bounded(int, text, lambda value: value >= 1, "a whole number of 1 or more")


def non_negative_int(text: str) -> int:
    """argparse type: a whole number of 0 or more."""
    return _bounded(int, text, lambda value: value >= 0, "a whole number of 0 or more")


def percentage(text: str) -> int:
    """argparse type: a whole number from 1 to 99."""
    return _bounded(int, text, lambda value: 0 < value < 100, "a whole number from 1 to 99")


def positive_float(text: str) -> float:
    """argparse type: a finite number above 0."""
    return _bounded(float, text, lambda v: 0 < v < float("inf"), "a number above 0")


def non_negative_float(text: str) -> float:
    """argparse type: a finite number of 0 or more."""
    return _bounded(float, text, lambda v: 0 <= v < float("inf"), "a number of 0 or more")


def probability(text: str) -> float:
    """argparse type: a number between 0 and 1, both included."""
    return _bounded(float, text, lambda value: 0 <= value <= 1, "a number between 0 and 1")


def key_value(text: str) -> tuple[str, str]:
    """argparse type: `KEY=VALUE`, the key not empty."""
    key, equals, value = text.partition("=")
    if not equals or not key:
        raise argparse.ArgumentTypeError(f"{text!r} is not KEY=VALUE")
    return key, value


def _bounded(kind: Callable[[str], Any], text: str, holds: Callable[[Any], bool], what: str) -> Any:
    try:
        value = kind(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is not {what}") from error
    if not holds(value):
        raise argparse.ArgumentTypeError(f"{text!r} is not {what}")
    return value


def add_threads(parser: argparse._ActionsContainer) -> None:
    """Add `--threads`, whose default is every core this process may use."""
    parser.add_argument(
        "--threads",
        type=positive_int,
        default=available_cores(),
        help="CPU threads to use, at most the cores there are",
    )


def capped_threads(args: argparse.Namespace) -> int:
    """Return `args.threads`, never more than the cores this process may use."""
    return min(int(args.threads), available_cores())


def progress(
    iterable: Iterable[Any] | None = None,
    *,
    total: float | None = None,
    unit: str = "it",
    description: str | None = None,
    **options: Any,
) -> tqdm:
    """Return a progress bar on standard error; silent where that is no terminal."""
    return tqdm(
        iterable,
        total=total,
        unit=unit,
        desc=description,
        disable=not sys.stderr.isatty(),
        dynamic_ncols=True,
        smoothing=0.1,
        **options,
    )


class _BarFriendlyHandler(logging.Handler):
    """Prints above a live progress bar instead of through it."""

    def emit(self, record: logging.LogRecord) -> None:
        tqdm.write(self.format(record), file=sys.stderr)


def _set_up_logging(log_file: Path | None) -> None:
    log.handlers.clear()
    log.setLevel(logging.INFO)
    log.propagate = False
    console = _BarFriendlyHandler()
    console.setFormatter(logging.Formatter("%(message)s"))
    if not sys.stderr.isatty():
        console.setLevel(logging.WARNING)
    log.addHandler(console)
    if log_file is not None:
        log_file.parent.mkdir(parents=True, exist_ok=True)
        file_handler = logging.FileHandler(log_file, mode="w", encoding="utf-8")
        file_handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
        log.addHandler(file_handler)


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
        log.error("error: %s", error)
        return 1
    except OSError as error:
        log.error("error: %s", describe_os_error(error))
        return 1
    except KeyboardInterrupt:
        log.error("interrupted")
        return 130
    except Exception:
        log.exception("defect: an error that Cloze did not foresee")
        return 1
    return 0
