"""Fetch one input file, resume where an earlier try stopped, and check its hash.

Reads a source: an https:, http: or file: address, a plain path, or
hf://datasets/OWNER/NAME@REVISION/PATH, without datasets/ for a model (with the token and
settings of huggingface_hub: HF_TOKEN or `hf auth login`, HF_ENDPOINT).
Writes the file as it is, or nothing; an interrupted download is kept beside it
as .NAME.partial for the next try.

With --list it writes no file: it prints the files of a folder on the hub, at the
commit that the revision names now, with sizes and hashes, ready for config.yaml.

A mirror is a folder or an http(s): address that stands in for every remote source:
MIRROR/host/path for an address, MIRROR/datasets/OWNER/NAME/REVISION/PATH for the hub,
or, if that is not there, the bare file name. It is not trusted: --sha256 still holds.

Try: python scripts/download.py --source README.md --output /tmp/copy.md
"""

import argparse
import json
import logging
import re
import sys
from pathlib import Path

from cloze.cli import make_parser, run_script
from cloze.errors import ClozeError
from cloze.fetch import hub
from cloze.fetch.sources import (
    HubSource,
    LocalSource,
    WebSource,
    mirror_places,
    parse_hub,
    parse_source,
)
from cloze.fetch.transfer import Checksums, copy_file, fetch_url
from cloze.fetch.web import HttpError

log = logging.getLogger("cloze")


def sha256(text: str) -> str:
    """argparse type: 64 hexadecimal digits."""
    if re.fullmatch(r"[0-9a-fA-F]{64}", text) is None:
        raise argparse.ArgumentTypeError(f"{text!r} is not a sha256 (64 hexadecimal digits)")
    return text.lower()


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of this script's command line."""
    parser = make_parser(__doc__)
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--source", help="the file to fetch")
    what.add_argument("--list", metavar="HUB_FOLDER", help="print the files of a folder on the hub")
    parser.add_argument("--output", type=Path, help="the file to write")
    parser.add_argument("--sha256", type=sha256, help="the hash that the file must have")
    parser.add_argument("--mirror", help="folder or address that stands in for remote sources")
    return parser


def run(args: argparse.Namespace) -> None:
    """Fetch the source, or list a folder."""
    if args.list is not None:
        sys.stdout.write(listing(hub.list_files(hub.pin(parse_hub(args.list)))))
        return
    if args.output is None:
        raise ClozeError("--source needs --output FILE to know where the file should go")
    source = parse_source(args.source)
    if isinstance(source, LocalSource):
        copy_file(source.path, args.output, Checksums(args.sha256))
    elif args.mirror:
        fetch_from_mirror(source, args.mirror, args.output, args.sha256)
    elif isinstance(source, WebSource):
        fetch_url(source.url, args.output, Checksums(args.sha256))
    else:
        fetch_from_hub(source, args.output, args.sha256)


def fetch_from_hub(source: HubSource, output: Path, sha256: str | None) -> None:
    """Fetch a file whose hash must be the hub's and, if given, `sha256`."""
    pinned = hub.pin(source)
    if pinned != source:
        log.warning(
            "%s: revision %r may move; it is now %s: pin that",
            source,
            source.revision,
            pinned.revision,
        )
    file = hub.file_info(pinned)
    hub.fetch_file(file, output, hub.published_checksums(file, sha256))


def fetch_from_mirror(
    source: WebSource | HubSource, mirror: str, output: Path, sha256: str | None
) -> None:
    """Fetch a file from the first place in the mirror that has it."""
    if sha256 is None:
        log.warning("%s: a mirror may hold anything and no sha256 is given to check it", source)
    places = mirror_places(source, mirror)
    for place in places:
        if isinstance(place, LocalSource) and place.path.is_file():
            copy_file(place.path, output, Checksums(sha256))
            return
        if isinstance(place, WebSource):
            try:
                fetch_url(place.url, output, Checksums(sha256))
                return
            except HttpError as error:
                if not error.is_missing:
                    raise
    looked = " or ".join(str(place) for place in places)
    raise ClozeError(f"{source}: the mirror has no such file; put it at {looked}")


def listing(files: list[hub.HubFile]) -> str:
    """Return a YAML list of the files with sizes as comments and each sha256 that is known.

    Files outside large file storage have none: their commit fixes them, and the hash of
    their git blob is checked when they are fetched.
    """
    lines = []
    for file in files:
        lines.append(f"- source: {yaml_text(str(file.source))}  # {file.size:,} bytes")
        if file.sha256 is not None:
            lines.append(f"  sha256: {yaml_text(file.sha256)}")
    return "\n".join(lines) + "\n"


def yaml_text(text: str) -> str:
    """Return `text` as YAML reads it back: plain where that is safe, else quoted."""
    # A hash of digits only, or like 12e4, would be read as a number.
    if re.fullmatch(r"[A-Za-z][\w./@:+-]*", text, re.ASCII) and not text.endswith(":"):
        return text
    return json.dumps(text, ensure_ascii=False)


def main(argv: list[str] | None = None) -> int:
    """Run the script and return its exit code."""
    return run_script(build_parser(), run, argv)


if __name__ == "__main__":
    sys.exit(main())
