# The model folders besides that of a finished pretraining, which fine-tuning takes alike.
#
# Reads the tokenizer, writes results/{corpus}/{tokenizer}/scratch/{architecture}/, an encoder
# without pretraining; reads the folder that `encoders: {NAME: {pretrained: FOLDER}}` names, writes
# results/imported/{encoder}/ with a tokenizer of its own; reads what pretrain.smk kept in .runs/
# after the shares of the run that `keep_at` names, writes for each
# results/{corpus}/{tokenizer}/{dataset}/{encoder}/at-{percent}/, and likewise of a later phase.


rule init_encoder:
    input:
        tokenizer="results/{corpus}/{tokenizer}/tokenizer.json",
    output:
        config="results/{corpus}/{tokenizer}/scratch/{architecture}/config.json",
        tokenizer="results/{corpus}/{tokenizer}/scratch/{architecture}/tokenizer.json",
        tokenizer_config="results/{corpus}/{tokenizer}/scratch/{architecture}/tokenizer_config.json",
    log:
        "logs/{corpus}/{tokenizer}/scratch/{architecture}/init_encoder.log",
    benchmark:
        "logs/{corpus}/{tokenizer}/scratch/{architecture}/init_encoder.benchmark.tsv"
    priority: FIRST - 1
    conda:
        "../envs/pipeline.yaml"
    threads: claim_all()
    resources:
        mem_mb=memory(2000),
        runtime=minutes(30),
    params:
        args=architecture_flags,
        code=code("init_encoder.py"),
    shell:
        "python scripts/init_encoder.py --tokenizer {input.tokenizer} {params.args:q}"
        " --output results/{wildcards.corpus}/{wildcards.tokenizer}/scratch/{wildcards.architecture}"
        " --log {log}"


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
        mem_mb=memory(4000),
        runtime=minutes(30),
    params:
        args=import_flags,
        code=code("import_encoder.py"),
    shell:
        "python scripts/import_encoder.py {params.args:q}"
        " --output results/imported/{wildcards.encoder} --log {log}"


rule checkpoint:
    input:
        dataset=phase_dataset_files,
        tokenizer="results/{corpus}/{tokenizer}/tokenizer.json",
        initial=initial_encoder,
        finished="results/{corpus}/{tokenizer}/{dataset}/{encoder}{phase}/metrics.json",
    output:
        config="results/{corpus}/{tokenizer}/{dataset}/{encoder}{phase}/at-{percent}/config.json",
        weights="results/{corpus}/{tokenizer}/{dataset}/{encoder}{phase}/at-{percent}/model.safetensors",
        tokenizer="results/{corpus}/{tokenizer}/{dataset}/{encoder}{phase}/at-{percent}/tokenizer.json",
    log:
        "logs/{corpus}/{tokenizer}/{dataset}/{encoder}{phase}/at-{percent}/checkpoint.log",
    benchmark:
        "logs/{corpus}/{tokenizer}/{dataset}/{encoder}{phase}/at-{percent}/checkpoint.benchmark.tsv"
    conda:
        "../envs/pipeline.yaml"
    threads: claim(1)
    resources:
        mem_mb=memory(2000),
        runtime=minutes(30),
    params:
        args=pretraining_flags,
        code=code("pretrain.py"),
        monitoring=monitoring_flags,
    shell:
        "python scripts/pretrain.py --dataset $(dirname {input.dataset[0]})"
        " --tokenizer {input.tokenizer} --output $(dirname {output.config})"
        " --run-dir $(dirname {input.finished})/.runs {params.args:q}"
        " {params.monitoring:q} --publish-at {wildcards.percent} --log {log}"
