"""List, or with --yes remove, what no current configuration asks for.

Reads config.yaml of the current folder; every other configuration there and each --configfile is
laid over it by itself. Looks at results/ and at what was downloaded into resources/, removes
nothing else, asks nothing, and prints what it did. A pick that was only given on Snakemake's
command line is in no file: name it under `runs:` in config.yaml to keep what it made.

Try: python scripts/clean.py --configfile workflow/presets/*.yaml
"""

import argparse
import shutil
import sys
from pathlib import Path

from cloze.cli import log, make_parser, run_script
from cloze.errors import ClozeError
from cloze.settings.config import load_config
from cloze.settings.leftovers import Wanted, find_leftovers, size

CONFIG = Path("config.yaml")
_UNITS = ("bytes", "kB", "MB", "GB", "TB")


def build_parser() -> argparse.ArgumentParser:
    """Return the command line."""
    parser = make_parser(__doc__)
    parser.add_argument("--yes", action="store_true", help="remove what is listed")
    parser.add_argument(
        "--configfile",
        type=Path,
        nargs="+",
        default=[],
        metavar="FILE",
        help="overlays of config.yaml elsewhere whose results are kept too",
    )
    return parser


def run(args: argparse.Namespace) -> None:
    """Find the leftovers and print them with their sizes, and remove them where that is asked."""
    wanted = Wanted()
    wanted.add(load_config([CONFIG]))
    for overlay in _overlays_here():
        try:
            wanted.add(load_config([CONFIG, overlay]))
        except ClozeError as error:
            log.warning("warning: %s is taken for no configuration (%s)", overlay, error)
    for overlay in args.configfile:
        wanted.add(load_config([CONFIG, overlay]))
    if args.yes:
        _refuse_while_snakemake_runs()
    total = 0
    for path in find_leftovers(Path(), wanted):
        total += (freed := size(path))
        if args.yes:
            _remove(path)
        print(f"{'removed' if args.yes else 'leftover'}  {_human(freed):>10}  {path}")  # noqa: T201
    if not total:
        print("nothing to remove")  # noqa: T201
    elif args.yes:
        print(f"freed {_human(total)}")  # noqa: T201
    else:
        print(f"{_human(total)} in all; --yes removes them")  # noqa: T201


def _overlays_here() -> list[Path]:
    """Return the other YAML files of the folder; which of them are configurations shows later."""
    found = (path for path in Path().glob("*.y*ml") if not path.name.startswith("."))
    return sorted(path for path in found if path != CONFIG)


def _refuse_while_snakemake_runs() -> None:
    locks = Path(".snakemake/locks")
    if locks.is_dir() and any(locks.iterdir()):
        raise ClozeError(
            f"{locks}: Snakemake is at work here; wait until it ends, or, if it was killed, "
            "run `snakemake --unlock` first"
        )


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink()


def _human(number: int) -> str:
    value, unit = float(number), 0
    while value >= 1000 and unit < len(_UNITS) - 1:
        value, unit = value / 1000, unit + 1
    return f"{value:.1f} {_UNITS[unit]}" if unit else f"{number} bytes"


def main(argv: list[str] | None = None) -> int:
    """Run the command line and return its exit code."""
    return run_script(build_parser(), run, argv)


if __name__ == "__main__":
    sys.exit(main())
