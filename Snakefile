# Cloze: from raw text to an evaluated encoder. config.yaml says what to run.


configfile: "config.yaml"


# Used only with `--software-deployment-method apptainer`; the Dockerfile says how it is made.
container: "cloze.sif"


include: "workflow/rules/common.smk"
include: "workflow/rules/machine.smk"
include: "workflow/rules/display.smk"
include: "workflow/rules/flags.smk"
include: "workflow/rules/inputs.smk"


report: "workflow/report/workflow.rst"


localrules:
    all,
    copy_average,
    copy_report,
    download,


rule all:
    default_target: True
    input:
        expand("results/{report}_report.txt", report=[*CONFIG.reports, *CONFIG.averages]),
        sorted({f"{folder}/corpus.html" for run in CONFIG.runs for folder in run.dataset_folders}),


include: "workflow/rules/documents.smk"
include: "workflow/rules/tokenizer.smk"
include: "workflow/rules/adapt.smk"
include: "workflow/rules/dataset.smk"
include: "workflow/rules/corpus.smk"
include: "workflow/rules/pretrain.smk"
include: "workflow/rules/models.smk"
include: "workflow/rules/finetune.smk"
include: "workflow/rules/report.smk"


onstart:
    require_present_times()
    write_resolved_config()
    forget_outdated_recipes()


onsuccess:
    write_made_recipes()
    end_display()


onerror:
    write_made_recipes()
    end_display()
