"""Write the report of a task: what was built, how well it does, and what that is worth.

Reads a task folder, the evaluation folders of the encoder (one a seed and split, those of the
headline's split first) and the baselines' JSON;
where there are any, the evaluations of the same encoder without pretraining, of a public encoder
and of checkpoints, the model folder, data set and documents of the pretraining and the
contamination found there. Writes the report as text and as JSON, and where asked for as one HTML
page and its main figure as SVG: the confusion matrix, of scores predictions by true score, of tags
F1 by type.

Try: python scripts/report.py --name sst2 --task TASK_FOLDER --evaluations EVALUATION_FOLDER
--baselines TASK_FOLDER/baselines.json --output-text /tmp/report.txt --output-json /tmp/report.json
"""

import argparse
import sys
from pathlib import Path

from cloze.cli import key_value, make_parser, run_script
from cloze.errors import ClozeError
from cloze.files import write_sealed, write_text
from cloze.show.figures import for_a_file
from cloze.show.kind_reports import kind_report
from cloze.show.report import build_report
from cloze.show.report_page import read_pretraining, render_page
from cloze.show.report_text import render_report
from cloze.show.sources import Sources
from cloze.tasks.evaluations import Evaluations, read_splits
from cloze.tasks.task import load_task


def build_parser() -> argparse.ArgumentParser:
    """Return the command line of this script."""
    parser = make_parser(__doc__)
    parser.add_argument("--name", required=True, help="name of the report, its title")
    parser.add_argument("--task", type=Path, required=True, help="task folder")
    parser.add_argument(
        "--evaluations",
        type=Path,
        nargs="+",
        required=True,
        help="evaluation folders, one a seed and split; the first one's split makes the headline",
    )
    parser.add_argument(
        "--scratch-evaluations",
        type=Path,
        nargs="+",
        default=[],
        help="evaluation folders of the same encoder without pretraining",
    )
    parser.add_argument(
        "--unadapted-evaluations",
        type=Path,
        nargs="+",
        default=[],
        help="evaluation folders of the encoder as it was before it was adapted",
    )
    parser.add_argument(
        "--adapted-tokenizer", type=Path, help="what extend_tokenizer.py wrote for its adaptation"
    )
    parser.add_argument(
        "--masked-lm",
        nargs=3,
        action="append",
        default=[],
        metavar=("CORPUS", "BEFORE", "AFTER"),
        help="what evaluate_masked_lm.py wrote before and after its adaptation; repeatable",
    )
    parser.add_argument(
        "--ceiling",
        nargs="+",
        metavar=("NAME", "FOLDER"),
        help="a public encoder's name and its evaluation folders, one a seed and split",
    )
    parser.add_argument(
        "--checkpoint",
        nargs="+",
        action="append",
        default=[],
        metavar=("PERCENT", "FOLDER"),
        help="evaluation folders of the encoder after this share of its pretraining; repeatable",
    )
    parser.add_argument("--baselines", type=Path, required=True, help="what baselines.py wrote")
    parser.add_argument(
        "--pretraining", type=Path, help="model folder that was fine-tuned: pretrained or imported"
    )
    parser.add_argument(
        "--phases",
        type=Path,
        nargs="+",
        default=[],
        metavar="FOLDER",
        help="model folders of the phases of its pretraining before the last, in order",
    )
    parser.add_argument(
        "--dataset", type=Path, help="data set folder of the pretraining's last phase"
    )
    parser.add_argument(
        "--corpus-documents", type=Path, help="documents folder of the pretraining's corpus"
    )
    parser.add_argument(
        "--contamination", type=Path, help="what find_contamination.py found in that corpus"
    )
    parser.add_argument(
        "--recipe",
        type=key_value,
        nargs="+",
        default=[],
        metavar="KEY=VALUE",
        help="names to print, such as corpus=wikitext-2 encoder=small",
    )
    parser.add_argument("--output-text", type=Path, required=True, help="text file to write")
    parser.add_argument("--output-json", type=Path, required=True, help="JSON file to write")
    parser.add_argument("--output-html", type=Path, help="page to write")
    parser.add_argument("--output-figure", type=Path, help="SVG file to write")
    return parser


def run(args: argparse.Namespace) -> None:
    """Collect, measure, write."""
    report = build_report(args.name, *_sources(args))
    write_sealed(args.output_json, report)
    write_text(args.output_text, render_report(report))
    if args.output_html is not None:
        write_text(args.output_html, render_page(report, read_pretraining(args.pretraining)))
    if args.output_figure is not None:
        write_text(args.output_figure, for_a_file(kind_report(report["task"]).figure(report)))


def _sources(args: argparse.Namespace) -> list[Sources]:
    """Return what the report tells of each split, that of the headline first."""
    task, scratch = load_task(args.task), read_splits(args.scratch_evaluations)
    unadapted = read_splits(args.unadapted_evaluations)
    public, ceiling = _named(args.ceiling) if args.ceiling else ("", {})
    checkpoints = dict(_share(given) for given in args.checkpoint)
    return [
        Sources(
            task=task,
            evaluations=evaluations,
            baselines=args.baselines,
            scratch=scratch.get(split),
            ceiling=(public, ceiling[split]) if split in ceiling else None,
            checkpoints={
                percent: found[split] for percent, found in checkpoints.items() if split in found
            },
            pretraining=args.pretraining,
            phases=args.phases,
            dataset=args.dataset,
            documents=args.corpus_documents,
            contamination=args.contamination,
            unadapted=unadapted.get(split),
            adapted_tokenizer=args.adapted_tokenizer,
            masked_lm={
                corpus: (Path(before), Path(after)) for corpus, before, after in args.masked_lm
            },
            recipe=dict(args.recipe),
        )
        for split, evaluations in read_splits(args.evaluations).items()
    ]


def _named(given: list[str]) -> tuple[str, dict[str, Evaluations]]:
    name, *folders = given
    if not folders:
        raise ClozeError(f"--ceiling {name}: names no evaluation folder; add one for each seed")
    return name, read_splits([Path(folder) for folder in folders])


def _share(given: list[str]) -> tuple[int, dict[str, Evaluations]]:
    percent, *folders = given
    if not percent.isdecimal() or not 0 < int(percent) < 100 or not folders:
        raise ClozeError(
            f"--checkpoint {' '.join(given)}: give a percentage below 100, then its evaluation "
            "folders, such as 25 FOLDER FOLDER"
        )
    return int(percent), read_splits([Path(folder) for folder in folders])


def main(argv: list[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    return run_script(build_parser(), run, argv)


if __name__ == "__main__":
    sys.exit(main())
