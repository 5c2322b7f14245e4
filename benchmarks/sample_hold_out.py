"""Cut a hold-out by sentiment words from the training split of the sample task.

Fine-tuning settings for the sample are chosen here, never on its validation split. A fifth
of the seen sentiment words, drawn for each category and polarity, is set aside; the hold-out
is every sentence whose sentiment words were all set aside, and a tenth of those with none of
them, as the validation split too has sentences of both sorts. Sentences with both kinds of
word are dropped. Writes OUTPUT/train.tsv and OUTPUT/validation.tsv, for prepare_task.py and
then finetuning_grid.py.

Try: python benchmarks/sample_hold_out.py --output /tmp/hold-out
"""

import argparse
import random
import re
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "scripts"))

from cloze.files import write_text  # noqa: E402
from cloze.sample.lexicon import SEEN, SENTIMENT_CATEGORIES, sentiment_words  # noqa: E402

WORDS_SET_ASIDE = 0.2
FAMILIAR_SENTENCES_HELD_OUT = 0.1


def words_set_aside(rng: random.Random) -> tuple[set[str], set[str]]:
    """Return the sentiment words that the training split has, and those to set aside."""
    every: set[str] = set()
    aside: set[str] = set()
    for category in sorted(SENTIMENT_CATEGORIES):
        for polarity in (1, -1):
            words = sorted(sentiment_words(category, polarity, (SEEN,)))
            every.update(words)
            aside.update(rng.sample(words, max(1, round(len(words) * WORDS_SET_ASIDE))))
    return every, aside


def main() -> None:
    """Write the two files."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--output", type=Path, required=True, help="folder for the two files")
    parser.add_argument("--seed", type=int, default=0, help="draws the words and sentences")
    args = parser.parse_args()
    rng = random.Random(args.seed)
    every, aside = words_set_aside(rng)
    source = ROOT / "resources" / "sample" / "reviews-train.tsv"
    header, *rows = source.read_text(encoding="utf-8").splitlines()
    train: list[str] = []
    familiar: list[str] = []
    unfamiliar: list[str] = []
    for row in rows:
        found = every.intersection(re.findall(r"\w+", row.casefold()))
        if found <= aside:
            unfamiliar.append(row)
        elif not found & aside:
            held = rng.random() < FAMILIAR_SENTENCES_HELD_OUT
            (familiar if held else train).append(row)
    for name, part in (("train", train), ("validation", unfamiliar + familiar)):
        write_text(args.output / f"{name}.tsv", "\n".join([header, *part]) + "\n")
    print(
        f"train {len(train)}; hold-out {len(unfamiliar)} of words set aside, "
        f"{len(familiar)} of the others"
    )


if __name__ == "__main__":
    main()
