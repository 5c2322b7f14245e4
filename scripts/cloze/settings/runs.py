"""What a configuration asks for: runs, their reports, and the folders of their results."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Report:
    """What a report tells of: a task, perhaps beside an encoder from elsewhere.

    `splits`: those it tells of, first the one of its headline.
    """

    task: str
    ceiling: str | None = None
    splits: tuple[str, ...] = ("validation",)


@dataclass(frozen=True)
class Run:
    """One name picked from each table; `reports` maps a report's file name to what it tells of.

    An encoder from elsewhere has no `architecture` of ours, and needs none of corpus,
    tokenizer and data set.
    """

    corpus: str
    tokenizer: str
    dataset: str
    encoder: str
    architecture: str | None
    seeds: tuple[int, ...]
    reports: Mapping[str, Report]
    suffix: str = ""
    """How the names of its reports end."""

    @property
    def is_imported(self) -> bool:
        """Does the encoder come from elsewhere?"""
        return self.architecture is None

    @property
    def documents_folder(self) -> str:
        """Where the corpus's documents lie."""
        return f"results/{self.corpus}/documents"

    @property
    def tokenizer_folder(self) -> str:
        """Where the tokenizer lies."""
        return f"results/{self.corpus}/{self.tokenizer}"

    @property
    def dataset_folder(self) -> str:
        """Where the shards lie."""
        return f"{self.tokenizer_folder}/{self.dataset}"

    @property
    def encoder_folder(self) -> str:
        """Where the pretrained encoder lies, with a folder for each task below it."""
        if self.is_imported:
            return imported_folder(self.encoder)
        return f"{self.dataset_folder}/{self.encoder}"

    @property
    def scratch_folder(self) -> str:
        """Where the encoder without pretraining lies; many recipes share it."""
        return f"{self.tokenizer_folder}/scratch/{self.architecture}"


def imported_folder(encoder: str) -> str:
    """Return where an encoder from elsewhere lies."""
    return f"results/imported/{encoder}"


def is_from_scratch(model: str) -> bool:
    """Tell whether a model folder holds an encoder without pretraining.

    No name in a table of the configuration can be `scratch`.
    """
    return "/scratch/" in model
