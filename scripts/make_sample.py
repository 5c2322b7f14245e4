"""Write the sample corpus and tasks that the repository ships, from a grammar and a seed.

Reads nothing; writes FOLDER/corpus.txt (reviews, one a paragraph, an empty line between
two), FOLDER/reviews-train.tsv and FOLDER/reviews-validation.tsv (columns sentence and
label: 0 negative, 1 positive), FOLDER/entities-train.conll and entities-validation.conll
(a word and its tag a line, an empty line between sentences), FOLDER/topics-train.csv and
topics-validation.csv (columns text and labels, several separated by commas),
FOLDER/questions-train.json and questions-validation.json (questions on other reviews, as SQuAD
2.0 has them), and FOLDER/pairs-train.tsv and pairs-validation.tsv (columns first, second and
score: 0 to 5, how alike the two are). One seed gives the same bytes everywhere.

Try: python scripts/make_sample.py --output /tmp/sample
"""

import argparse
import csv
import io
import json
import sys
from pathlib import Path

from cloze.cli import make_parser, non_negative_int, run_script
from cloze.files import write_text
from cloze.sample.data import build_sample
from cloze.sample.entities import build_entities
from cloze.sample.questions import build_questions
from cloze.sample.topics import build_topics


def build_parser() -> argparse.ArgumentParser:
    """Return the command line."""
    parser = make_parser(__doc__)
    parser.add_argument("--output", type=Path, required=True, help="folder for the files")
    parser.add_argument("--seed", type=non_negative_int, default=0, help="seed of every choice")
    return parser


def run(args: argparse.Namespace) -> None:
    """Write the files."""
    sample = build_sample(args.seed)
    write_text(args.output / "corpus.txt", "\n\n".join(sample.reviews) + "\n")
    for split, rows in (("train", sample.train), ("validation", sample.validation)):
        lines = ["sentence\tlabel", *(f"{sentence}\t{label}" for sentence, label in rows)]
        write_text(args.output / f"reviews-{split}.tsv", "\n".join(lines) + "\n")
    for split, sentences in build_entities(args.seed).items():
        blocks = ("\n".join(f"{word}\t{tag}" for word, tag in words) for words in sentences)
        write_text(args.output / f"entities-{split}.conll", "\n\n".join(blocks) + "\n")
    for split, texts in build_topics(args.seed).items():
        stream = io.StringIO()
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(("text", "labels"))
        writer.writerows((text, ",".join(labels)) for text, labels in texts)
        write_text(args.output / f"topics-{split}.csv", stream.getvalue())
    for split, squad in build_questions(args.seed).items():
        # An article a line, so that a change shows as one.
        articles = ",\n".join(json.dumps(part, ensure_ascii=False) for part in squad["data"])
        version = json.dumps(squad["version"])
        text = f'{{"version": {version}, "data": [\n{articles}\n]}}\n'
        write_text(args.output / f"questions-{split}.json", text)
    for split, pairs in (("train", sample.train_pairs), ("validation", sample.validation_pairs)):
        lines = ["first\tsecond\tscore", *("\t".join(map(str, pair)) for pair in pairs)]
        write_text(args.output / f"pairs-{split}.tsv", "\n".join(lines) + "\n")


def main(argv: list[str] | None = None) -> int:
    """Run the script and return its exit code."""
    return run_script(build_parser(), run, argv)


if __name__ == "__main__":
    sys.exit(main())
