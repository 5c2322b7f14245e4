# From an encoder that came from elsewhere to predictions: no pretraining, its own tokenizer.
#
# Reads the folder that `encoders: {NAME: {pretrained: FOLDER}}` names; writes the model folder
# results/imported/{encoder}/ and, below it, a classifier with its evaluation for each task and
# seed, as finetune.smk does.


rule import_encoder:
    input:
        imported_files,
    output:
        config="results/imported/{encoder}/config.json",
        weights="results/imported/{encoder}/model.safetensors",
        tokenizer="results/imported/{encoder}/tokenizer.json",
        tokenizer_config="results/imported/{encoder}/tokenizer_config.json",
        metrics="results/imported/{encoder}/metrics.json",
    log:
        "logs/imported/{encoder}/import_encoder.log",
    benchmark:
        "logs/imported/{encoder}/import_encoder.benchmark.tsv"
    conda:
        "../envs/pipeline.yaml"
    threads: claim(1)
    resources:
        mem_mb=4000,
    params:
        args=import_flags,
        code=code("import_encoder.py"),
    shell:
        "python scripts/import_encoder.py {params.args:q}"
        " --output results/imported/{wildcards.encoder} --log {log}"


use rule finetune as finetune_imported with:
    input:
        config="results/imported/{encoder}/config.json",
        weights="results/imported/{encoder}/model.safetensors",
        tokenizer="results/imported/{encoder}/tokenizer.json",
        train="results/tasks/{task}/train.parquet",
        task="results/tasks/{task}/task.json",
    output:
        config="results/imported/{encoder}/{task}/seed-{seed}/config.json",
        weights="results/imported/{encoder}/{task}/seed-{seed}/model.safetensors",
        tokenizer="results/imported/{encoder}/{task}/seed-{seed}/tokenizer.json",
        metrics="results/imported/{encoder}/{task}/seed-{seed}/metrics.json",
    log:
        "logs/imported/{encoder}/{task}/seed-{seed}/finetune.log",
    benchmark:
        "logs/imported/{encoder}/{task}/seed-{seed}/finetune.benchmark.tsv"


use rule evaluate as evaluate_imported with:
    input:
        config="results/imported/{encoder}/{task}/seed-{seed}/config.json",
        weights="results/imported/{encoder}/{task}/seed-{seed}/model.safetensors",
        tokenizer="results/imported/{encoder}/{task}/seed-{seed}/tokenizer.json",
        finetuning="results/imported/{encoder}/{task}/seed-{seed}/metrics.json",
        validation="results/tasks/{task}/validation.parquet",
        task="results/tasks/{task}/task.json",
    output:
        metrics="results/imported/{encoder}/{task}/seed-{seed}/evaluation/metrics.json",
        predictions="results/imported/{encoder}/{task}/seed-{seed}/evaluation/predictions.parquet",
    log:
        "logs/imported/{encoder}/{task}/seed-{seed}/evaluate.log",
    benchmark:
        "logs/imported/{encoder}/{task}/seed-{seed}/evaluate.benchmark.tsv"
