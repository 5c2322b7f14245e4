"""How well sentences are told apart: precision, recall and F1 of their bounds against a gold.

A gold FILE is a treebank of Universal Dependencies (`.conllu`); or sentences, one a line, with
a blank line between paragraphs; or, with --from-paragraphs, running text in WikiText's form
(` = Title = `, then a paragraph a line), of which a gold is made. For that, paragraphs are
taken that are one sentence whatever its abbreviations: each mark within is followed by a small
letter, or stands in a title of the file, as in `J. R. R. Tolkien`. Groups of them are joined,
and the bounds are the places where they met. Marks before capitals that no title explains are
so left out, which makes this gold easier than a treebank; it is for want of one.

Bounds are compared by the characters before them, white space not counted; the end of a
paragraph counts for nobody. Any FILE may end in .xz. Ends with one JSON line; `ratio` is our F1
over that of the best peer given.

Try: python benchmarks/sentence_boundaries.py --gold en_ewt-ud-test.conllu --language en
"""

import argparse
import importlib
import itertools
import json
import lzma
import re
import statistics
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "scripts"))

from cloze.tokens.samples import split_sentences  # noqa: E402

# Longer paragraphs are no harder, and some peers take time that grows with the square.
SENTENCES_AT_ONCE = 20
SENTENCES_JOINED = 8
FEWEST_WORDS = 4
_CLOSERS = "\"'”’»)\\]"
_OPENERS = "\"'“‘«(\\["
_MARK = re.compile(rf"[.!?…][{_CLOSERS}]*(\s+)[{_OPENERS}]*(\S)")
_END = re.compile(rf"[.!?…][{_CLOSERS}]*$")
_TITLE = re.compile(r"^ = (.*) = $", re.MULTILINE)

# A paragraph is its sentences, each with the white space after it.
Paragraph = list[str]
Splitter = Callable[[str], list[str]]


def build_parser() -> argparse.ArgumentParser:
    """Return the command line's parser."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--gold", type=Path, nargs="+", required=True, metavar="FILE")
    parser.add_argument("--language", required=True, help="code of ISO 639-1")
    parser.add_argument("--from-paragraphs", action="store_true", help="make the gold, see above")
    parser.add_argument(
        "--peers", nargs="+", choices=list(PEERS), default=[], help="libraries to measure beside"
    )
    parser.add_argument("--repeats", type=int, default=3, help="for the speed's median")
    parser.add_argument("--errors", type=int, default=0, help="how many wrong bounds to print")
    return parser


def read_text(path: Path) -> str:
    """Return the text of a file, perhaps compressed."""
    content = path.read_bytes()
    return (lzma.decompress(content) if path.suffix == ".xz" else content).decode()


def read_gold(path: Path, from_paragraphs: bool) -> Iterator[Paragraph]:
    """Yield the paragraphs of one file."""
    text = read_text(path)
    if from_paragraphs:
        yield from one_sentence_paragraphs(text)
    elif ".conllu" in path.suffixes:
        yield from treebank_paragraphs(text)
    else:
        for block in re.split(r"\n\s*\n", text):
            yield [f"{line.strip()} " for line in block.split("\n") if line.strip()]


def treebank_paragraphs(text: str) -> Iterator[Paragraph]:
    """Yield the paragraphs of a treebank; a document without marked ones is a paragraph."""
    paragraph: Paragraph = []
    for block in re.split(r"\n\s*\n", text.strip()):
        if paragraph and re.search(r"^# new(doc|par)", block, re.MULTILINE):
            yield paragraph
            paragraph = []
        sentence = re.search(r"^# text = (.*)$", block, re.MULTILINE)
        if sentence is None:
            sys.exit("a sentence of the treebank has no line '# text = '; give a released file")
        paragraph.append(sentence[1].strip() + ("" if _is_joined_to_next(block) else " "))
    yield paragraph


def _is_joined_to_next(block: str) -> bool:
    tokens = [line.split("\t") for line in block.splitlines() if not line.startswith("#")]
    words = [columns for columns in tokens if "." not in columns[0]]
    # The last surface token: a range such as 7-8 stands for the words that follow it.
    spans = [columns for columns in words if "-" in columns[0]]
    last = words[-1]
    if spans and int(spans[-1][0].split("-")[1]) == int(last[0]):
        last = spans[-1]
    return "SpaceAfter=No" in last[-1]


def one_sentence_paragraphs(text: str) -> Iterator[Paragraph]:
    """Yield groups of paragraphs that are surely one sentence each."""
    titles = {title for title in _TITLE.findall(text) if re.search(r"[.!?] ", title)}
    names = re.compile("|".join(map(re.escape, sorted(titles, key=len, reverse=True))) or "(?!)")
    group: Paragraph = []
    for line in text.split("\n"):
        if not _TITLE.match(line) and is_one_sentence(line.strip(), names):
            group.append(f"{line.strip()} ")
        if len(group) == SENTENCES_JOINED:
            yield group
            group = []
    yield group


def is_one_sentence(paragraph: str, names: re.Pattern[str]) -> bool:
    """Decide whether nothing in a paragraph can be a bound but its end."""
    if len(paragraph.split()) < FEWEST_WORDS or not _END.search(paragraph):
        return False
    if not re.match(rf"[{_OPENERS}—–-]*\s*[^\W\d_]", paragraph) or paragraph[0].islower():
        return False
    spans = [found.span() for found in names.finditer(paragraph)]
    return all(
        mark[2].islower() or any(first < mark.start(1) < last for first, last in spans)
        for mark in _MARK.finditer(paragraph)
    )


def bounds(sentences: Iterable[str]) -> set[int]:
    """Return how many visible characters stand before each bound within a paragraph."""
    lengths = [len("".join(sentence.split())) for sentence in sentences]
    ends = list(itertools.accumulate(lengths))
    return {end for end in ends if 0 < end < ends[-1]}


def ours(language: str) -> Splitter:
    """Return the splitter that segment_text.py uses."""
    return lambda text: split_sentences(text, language)


def pysbd(language: str) -> Splitter:
    """Return the Pragmatic Segmenter in Python; English's rules for a language it has not."""
    library = importlib.import_module("pysbd")
    known = importlib.import_module("pysbd.languages").LANGUAGE_CODES
    segmenter = library.Segmenter(language=language if language in known else "en", clean=False)
    return lambda text: list(segmenter.segment(text))


def blingfire(language: str) -> Splitter:
    """Return Microsoft's BlingFire, which is the same for all languages."""
    library = importlib.import_module("blingfire")
    return lambda text: str(library.text_to_sentences(text)).split("\n")


PEERS: dict[str, Callable[[str], Splitter]] = {"pysbd": pysbd, "blingfire": blingfire}


def measure(
    split: Splitter, paragraphs: list[Paragraph], repeats: int
) -> tuple[dict[str, float], list[tuple[str, int]]]:
    """Return figures, and each wrong bound as (paragraph with it marked, its place)."""
    texts = ["".join(paragraph).rstrip() for paragraph in paragraphs]
    seconds = []
    for _ in range(repeats):
        started = time.process_time()
        found = [split(text) for text in texts]
        seconds.append(time.process_time() - started)
    right = predicted = gold = 0
    errors = []
    for text, paragraph, sentences in zip(texts, paragraphs, found, strict=True):
        true, given = bounds(paragraph), bounds(sentences)
        right, predicted, gold = (
            right + len(true & given), predicted + len(given), gold + len(true),
        )  # fmt: skip
        errors += [(text, place) for place in sorted(true ^ given)]
    precision, recall = right / max(predicted, 1), right / max(gold, 1)
    megabytes = sum(len(text.encode()) for text in texts) / 1e6
    figures = {
        "precision": round(precision, 4),
        "recall": round(recall, 4),
        "f1": round(2 * precision * recall / max(precision + recall, 1e-9), 4),
        "mb_per_cpu_s": round(megabytes / statistics.median(seconds), 2),
    }
    return figures, errors


def context(text: str, place: int) -> str:
    """Return what stands around a bound, which `|` marks."""
    seen = 0
    for index, character in enumerate(text):
        seen += not character.isspace()
        if seen == place:
            return f"{text[max(0, index - 50) : index + 1]} | {text[index + 1 : index + 40]}"
    return text


def main() -> None:
    """Measure and print."""
    args = build_parser().parse_args()
    paragraphs = [
        paragraph[start : start + SENTENCES_AT_ONCE]
        for path in args.gold
        for paragraph in read_gold(path, args.from_paragraphs)
        for start in range(0, len(paragraph), SENTENCES_AT_ONCE)
    ]
    if not any(map(bounds, paragraphs)):
        sys.exit(f"{args.gold[0]}: no paragraph of two sentences; is it in one of the forms?")
    figures, errors = measure(ours(args.language), paragraphs, args.repeats)
    for text, place in errors[: args.errors]:
        print(context(text, place).replace("\n", " "))
    peers = {
        name: measure(PEERS[name](args.language), paragraphs, args.repeats)[0]
        for name in args.peers
    }
    best = max((peer["f1"] for peer in peers.values()), default=None)
    result = {
        "ratio": round(figures["f1"] / best, 4) if best else None,
        "language": args.language,
        "gold": [path.name for path in args.gold],
        "gold_from_paragraphs": args.from_paragraphs,
        "sentences": sum(map(len, paragraphs)),
        "bounds": sum(len(bounds(paragraph)) for paragraph in paragraphs),
        "sentencex": figures,
        **peers,
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
