# From an encoder on its way through pretraining to predictions: what more of it brings.
#
# Reads what pretrain.smk kept in .runs/ after the shares of the run that `keep_at` names;
# writes, for each, the model folder results/{corpus}/{tokenizer}/{dataset}/{encoder}/at-{percent}/
# and, below it, a classifier with its evaluation for each task and seed, as finetune.smk does.


rule checkpoint:
    input:
        dataset=dataset_files,
        tokenizer="results/{corpus}/{tokenizer}/tokenizer.json",
        initial=initial_encoder,
        finished="results/{corpus}/{tokenizer}/{dataset}/{encoder}/metrics.json",
    output:
        config="results/{corpus}/{tokenizer}/{dataset}/{encoder}/at-{percent}/config.json",
        weights="results/{corpus}/{tokenizer}/{dataset}/{encoder}/at-{percent}/model.safetensors",
        tokenizer="results/{corpus}/{tokenizer}/{dataset}/{encoder}/at-{percent}/tokenizer.json",
    log:
        "logs/{corpus}/{tokenizer}/{dataset}/{encoder}/at-{percent}/checkpoint.log",
    benchmark:
        "logs/{corpus}/{tokenizer}/{dataset}/{encoder}/at-{percent}/checkpoint.benchmark.tsv"
    conda:
        "../envs/pipeline.yaml"
    threads: claim(1)
    resources:
        mem_mb=2000,
    params:
        args=pretraining_flags,
        code=code("pretrain.py"),
    shell:
        "folder=results/{wildcards.corpus}/{wildcards.tokenizer}/{wildcards.dataset};"
        " python scripts/pretrain.py --dataset $folder --tokenizer {input.tokenizer}"
        " --output $folder/{wildcards.encoder}/at-{wildcards.percent}"
        " --run-dir $folder/{wildcards.encoder}/.runs {params.args:q}"
        " --publish-at {wildcards.percent} --log {log}"


use rule finetune as finetune_checkpoint with:
    input:
        config="results/{corpus}/{tokenizer}/{dataset}/{encoder}/at-{percent}/config.json",
        weights="results/{corpus}/{tokenizer}/{dataset}/{encoder}/at-{percent}/model.safetensors",
        tokenizer="results/{corpus}/{tokenizer}/{dataset}/{encoder}/at-{percent}/tokenizer.json",
        train="results/tasks/{task}/train.parquet",
        task="results/tasks/{task}/task.json",
    output:
        config="results/{corpus}/{tokenizer}/{dataset}/{encoder}/at-{percent}/{task}/seed-{seed}/config.json",
        weights="results/{corpus}/{tokenizer}/{dataset}/{encoder}/at-{percent}/{task}/seed-{seed}/model.safetensors",
        tokenizer="results/{corpus}/{tokenizer}/{dataset}/{encoder}/at-{percent}/{task}/seed-{seed}/tokenizer.json",
        metrics="results/{corpus}/{tokenizer}/{dataset}/{encoder}/at-{percent}/{task}/seed-{seed}/metrics.json",
    log:
        "logs/{corpus}/{tokenizer}/{dataset}/{encoder}/at-{percent}/{task}/seed-{seed}/finetune.log",
    benchmark:
        "logs/{corpus}/{tokenizer}/{dataset}/{encoder}/at-{percent}/{task}/seed-{seed}/finetune.benchmark.tsv"


use rule evaluate as evaluate_checkpoint with:
    input:
        config="results/{corpus}/{tokenizer}/{dataset}/{encoder}/at-{percent}/{task}/seed-{seed}/config.json",
        weights="results/{corpus}/{tokenizer}/{dataset}/{encoder}/at-{percent}/{task}/seed-{seed}/model.safetensors",
        tokenizer="results/{corpus}/{tokenizer}/{dataset}/{encoder}/at-{percent}/{task}/seed-{seed}/tokenizer.json",
        finetuning="results/{corpus}/{tokenizer}/{dataset}/{encoder}/at-{percent}/{task}/seed-{seed}/metrics.json",
        validation="results/tasks/{task}/validation.parquet",
        task="results/tasks/{task}/task.json",
    output:
        metrics="results/{corpus}/{tokenizer}/{dataset}/{encoder}/at-{percent}/{task}/seed-{seed}/evaluation/metrics.json",
        predictions="results/{corpus}/{tokenizer}/{dataset}/{encoder}/at-{percent}/{task}/seed-{seed}/evaluation/predictions.parquet",
    log:
        "logs/{corpus}/{tokenizer}/{dataset}/{encoder}/at-{percent}/{task}/seed-{seed}/evaluate.log",
    benchmark:
        "logs/{corpus}/{tokenizer}/{dataset}/{encoder}/at-{percent}/{task}/seed-{seed}/evaluate.benchmark.tsv"
