"""`config.yaml`, table by table: the settings of the scripts, and what names their inputs."""

from dataclasses import dataclass
from typing import TypeAlias

from cloze.settings.corpora import CorpusSettings
from cloze.settings.datasets import SegmentTextSettings, SplitTokensSettings
from cloze.settings.encoders import ArchitectureSettings, ImportSettings
from cloze.settings.fields import REQUIRED, Name, Sha256, setting
from cloze.settings.files import HUB_FILES
from cloze.settings.finetuning import FinetuningRecipe
from cloze.settings.pretraining import AdaptationSettings, PretrainingSettings
from cloze.settings.tasks import TaskSettings
from cloze.settings.tokenizers import ExtensionSettings, TokenizerSettings


@dataclass(frozen=True, kw_only=True)
class Source:
    """A file, with the hash that it must have."""

    source: str = setting(
        REQUIRED, "a path, file:, https: or hf://datasets/OWNER/NAME@REVISION/PATH"
    )
    sha256: Sha256 | None = setting(None, "what the file's bytes must hash to")


# A path, file:, https: or hf:// by itself; {00..12} and {a,b} expand.
AnySource: TypeAlias = str | Source
# What a split of a task is read from; of a folder every file.
SplitSources: TypeAlias = str | Source | list[AnySource]


@dataclass(frozen=True, kw_only=True)
class SplitFiles:
    """The splits that a source has of its own."""

    train: list[AnySource] = setting(REQUIRED, "the source's own training split", fewest=1)
    validation: list[AnySource] | None = setting(
        None, "its validation split; unset: drawn from train", fewest=1
    )
    test: list[AnySource] | None = setting(
        None, "its test split; unset: no test documents", fewest=1
    )


@dataclass(frozen=True, kw_only=True)
class CorpusEntry(CorpusSettings):
    """A corpus that is read from files."""

    files: list[AnySource] | SplitFiles | None = setting(
        None,
        "sources to split by document, or the source's own splits; none for python-docs. A source "
        "is a path, file:, https: or hf://datasets/OWNER/NAME@REVISION/PATH; {00..12} and {a,b} "
        "expand",
        is_flag=False,
        fewest=1,
    )
    decontaminate: list[Name] = setting(
        list,
        "tasks whose evaluation sentences are removed, with the paragraphs that hold them",
        is_flag=False,
    )


@dataclass(frozen=True, kw_only=True)
class MixtureEntry:
    """A corpus that is made of others."""

    mixture: dict[Name, float] = setting(
        REQUIRED,
        "other corpora, each with its weight: how often a pass sees its training documents",
        is_flag=False,
        above=0,
    )


@dataclass(frozen=True, kw_only=True)
class TokenizerEntry(TokenizerSettings):
    """A tokenizer, trained on the corpus or taken over."""

    vocab: AnySource | None = setting(
        None,
        "an existing vocab.txt or tokenizer.json (with the latter, no other key has effect)",
        is_flag=False,
    )


@dataclass(frozen=True, kw_only=True)
class SegmentTextEntry(SegmentTextSettings):
    """A data set of whole sentences."""

    method: str = setting(
        REQUIRED,
        "whole sentences, packed up to max_length",
        is_flag=False,
        choices=("segment_text",),
    )


@dataclass(frozen=True, kw_only=True)
class SplitTokensEntry(SplitTokensSettings):
    """A data set of samples of equal length."""

    method: str = setting(
        REQUIRED,
        "a document's tokens cut into samples of equal length",
        is_flag=False,
        choices=("split_tokens",),
    )


@dataclass(frozen=True, kw_only=True)
class PhaseEntry(PretrainingSettings):
    """A later phase; what it does not say, its budget apart, is as in the encoder's recipe."""

    dataset: Name = setting(
        REQUIRED,
        "what it trains on, one of datasets; positions are extended to samples longer than any "
        "before",
        is_flag=False,
    )


@dataclass(frozen=True, kw_only=True)
class EncoderEntry(PretrainingSettings):
    """An encoder that is pretrained here."""

    architecture: Name = setting(REQUIRED, "one of architectures", is_flag=False)
    init_from: str | None = setting(None, "model folder whose encoder to start from")
    phases: list[PhaseEntry] = setting(
        list,
        "what follows the pretraining that the other keys describe, each phase from the weights "
        "and heads of the one before",
        is_flag=False,
    )


@dataclass(frozen=True, kw_only=True)
class AdaptedEntry(AdaptationSettings, ExtensionSettings):
    """An encoder from elsewhere that goes on to learn the corpus."""

    adapt: str = setting(
        REQUIRED,
        "what to go on from: an encoder's folder in Hugging Face's form, a model folder made here, "
        "hf://OWNER/NAME@REVISION, or one of encoders with pretrained; it brings its shape and its "
        "tokenizer",
        is_flag=False,
    )
    general_corpus: Name | None = setting(
        None,
        "one of corpora, whose held-out text tells what was forgotten; changes no weight",
        is_flag=False,
    )


@dataclass(frozen=True, kw_only=True)
class ImportedEntry(ImportSettings):
    """An encoder from elsewhere."""

    pretrained: str = setting(
        REQUIRED,
        "folder of an encoder in Hugging Face's form, or hf://OWNER/NAME@REVISION; it brings its "
        "tokenizer",
        is_flag=False,
    )
    files: list[str] = setting(
        lambda: list(HUB_FILES),
        "what to fetch of a model on the hub",
        is_flag=False,
        fewest=1,
    )


@dataclass(frozen=True, kw_only=True)
class TaskEntry(TaskSettings):
    """A task, and how encoders are fine-tuned on it."""

    train: SplitSources = setting(
        REQUIRED, "file, folder or list of files with the training rows", is_flag=False
    )
    validation: SplitSources | None = setting(
        None, "the same with the validation rows", is_flag=False
    )
    test: SplitSources | None = setting(
        None, "the same with labelled test rows, which reports then tell of too", is_flag=False
    )
    splits: dict[Name, SplitSources] = setting(
        dict,
        "further files to evaluate on, each split under a name that a report's split can give",
        is_flag=False,
    )
    finetuning: FinetuningRecipe = setting(
        FinetuningRecipe, "how a pretrained encoder learns the task", is_flag=False
    )
    finetuning_from_scratch: FinetuningRecipe = setting(
        FinetuningRecipe,
        "what differs from finetuning for the encoder without pretraining",
        is_flag=False,
    )

    @property
    def evaluation_splits(self) -> list[str]:
        """The splits that models can be evaluated on, `validation` first."""
        return ["validation", *(["test"] if self.test is not None else []), *self.splits]


@dataclass(frozen=True, kw_only=True)
class ReportEntry:
    """A report: what it tells of."""

    task: Name = setting(REQUIRED, "one of tasks")
    ceiling: Name | None = setting(
        None, "one of encoders with pretrained, fine-tuned alike and shown beside"
    )
    split: Name | None = setting(
        None,
        "the task's split to tell of; unset: validation and, where the task has one, test",
    )


@dataclass(frozen=True, kw_only=True)
class RunEntry:
    """One more run: the picks that it changes."""

    name: Name | None = setting(
        None, "ends the names of the run's reports; default: the picks that it changes"
    )
    corpus: Name | None = setting(None, "one of corpora")
    tokenizer: Name | None = setting(None, "one of tokenizers")
    dataset: Name | None = setting(None, "one of datasets")
    encoder: Name | None = setting(None, "one of encoders")
    seeds: list[int] | None = setting(
        None, "seeds of fine-tuning", minimum=0, fewest=1, unique=True
    )
    reports: dict[Name, ReportEntry] | None = setting(None, "the reports to write")


@dataclass(frozen=True, kw_only=True)
class Configuration:
    """All of `config.yaml`."""

    corpus: Name = setting(REQUIRED, "the corpus to pretrain on, one of corpora")
    tokenizer: Name = setting(REQUIRED, "how text becomes tokens, one of tokenizers")
    dataset: Name = setting(REQUIRED, "how documents become rows of tokens, one of datasets")
    encoder: Name = setting(REQUIRED, "what is pretrained and how, one of encoders")
    seeds: list[int] = setting(
        lambda: [1, 2, 3],
        "seeds of fine-tuning; accuracy is reported over them",
        minimum=0,
        fewest=1,
        unique=True,
    )
    reports: dict[Name, ReportEntry] = setting(
        REQUIRED, "the reports to write; results/NAME_report.txt tells of the task"
    )
    averages: dict[Name, list[str]] = setting(
        dict,
        "averages over reports; results/NAME_report.txt; A+B counts as the mean of both, as MNLI's "
        "two splits do",
        fewest=2,
        unique=True,
    )
    mirror: str | None = setting(
        None, "folder or server that stands in for every remote source; no part of any key"
    )
    runs: list[RunEntry] = setting(
        list, "more runs; each changes some picks, and its reports are called REPORT-NAME"
    )
    corpora: dict[Name, CorpusEntry | MixtureEntry] = setting(REQUIRED, "texts to pretrain on")
    tokenizers: dict[Name, TokenizerEntry] = setting(
        REQUIRED, "vocabularies, trained on the corpus or taken as they are"
    )
    datasets: dict[Name, SegmentTextEntry | SplitTokensEntry] = setting(
        REQUIRED, "ways from documents to shards of tokens"
    )
    architectures: dict[Name, ArchitectureSettings] = setting(REQUIRED, "shapes of encoders")
    encoders: dict[Name, EncoderEntry | AdaptedEntry | ImportedEntry] = setting(
        REQUIRED,
        "an architecture with the recipe of its pretraining, or an encoder from elsewhere, taken "
        "as it is or adapted to the corpus",
    )
    tasks: dict[Name, TaskEntry] = setting(
        REQUIRED, "labelled sentences, and how an encoder is fine-tuned on them"
    )
