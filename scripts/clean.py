"""List, or remove, what no current configuration asks for.

Reads config.yaml of the current folder, and each --configfile laid over it by itself. Looks
at results/ and at what was downloaded into resources/, removes nothing else, asks nothing,
and prints what it did. A pick that was only given on Snakemake's command line is in no
file: name it under `runs:` in config.yaml to keep what it made.

Try: python scripts/clean.py --dry-run --configfile workflow/presets/*.yaml
"""

import argparse
import shutil
import sys
from pathlib import Path

from cloze.cli import make_parser, run_script
from cloze.errors import ClozeError
from cloze.settings.config import load_config
from cloze.settings.leftovers import Wanted, find_leftovers, size

CONFIG = Path("config.yaml")
_UNITS = ("bytes", "kB", "MB", "GB", "TB")


def build_parser() -> argparse.ArgumentParser:
    """Return the command line."""
    parser = make_parser(__doc__)
    parser.add_argument("--dry-run", action="store_true", help="list only, remove nothing")
    parser.add_argument(
        "--configfile",
        type=Path,
        nargs="+",
        default=[],
        metavar="FILE",
        help="overlays of config.yaml whose results are kept too",
    )
    return parser


def run(args: argparse.Namespace) -> None:
    """Find the leftovers, print them with their sizes, and remove them unless it is a dry run."""
    wanted = Wanted()
    wanted.add(load_config([CONFIG]))
    for overlay in args.configfile:
        wanted.add(load_config([CONFIG, overlay]))
    if not args.dry_run:
        _refuse_while_snakemake_runs()
    total = 0
    for path in find_leftovers(Path(), wanted):
        total += (freed := size(path))
        if not args.dry_run:
            _remove(path)
        verb = "would remove" if args.dry_run else "removed"
        print(f"{verb}  {_human(freed):>10}  {path}")  # noqa: T201
    verb = "would free" if args.dry_run else "freed"
    print(f"{verb} {_human(total)}" if total else "nothing to remove")  # noqa: T201


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
