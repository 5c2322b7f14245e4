"""The sample, shortened, and an encoder to go with it."""

from tests.workflow.project import Project

# Reviews and rows that are kept of the sample.
NUM_REVIEWS, NUM_ROWS = 300, 60
TINY = {
    "architectures": {
        "modernbert-tiny": {
            "hidden_size": 32,
            "num_hidden_layers": 1,
            "intermediate_size": 64,
            "max_position_embeddings": 128,
        }
    },
    "encoders": {"tiny": {"max_steps": 30, "eval_steps": 10, "train_batch_size": 8}},
    "tasks": {
        "sample-reviews": {
            "finetuning": {"num_train_epochs": 1},
            "finetuning_from_scratch": {"num_train_epochs": 1},
        }
    },
    "seeds": [1, 2],
}


def shorten(project: Project) -> None:
    """Keep so much of the sample in a copy of the project that every stage takes seconds."""
    folder = project.folder / "resources" / "sample"
    reviews = (folder / "corpus.txt").read_text("utf-8").split("\n\n")[:NUM_REVIEWS]
    (folder / "corpus.txt").write_text("\n\n".join(reviews) + "\n", "utf-8")
    for name in ("reviews-train.tsv", "reviews-validation.tsv"):
        lines = (folder / name).read_text("utf-8").splitlines(keepends=True)[: NUM_ROWS + 1]
        (folder / name).write_text("".join(lines), "utf-8")
