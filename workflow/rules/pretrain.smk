# From shards to an encoder.
#
# Reads results/{corpus}/{tokenizer}/{dataset}/; writes the model folder
# results/{corpus}/{tokenizer}/{dataset}/{encoder}/ and, from the run's records, the curve, the
# guesses and the diagnosis in it. A later phase reads its own data set and the folder of the phase
# before, and writes results/{corpus}/{tokenizer}/{dataset}/{encoder}/phase-{number}/: {phase} is
# empty or the last part of that. The work in progress lies undeclared in .runs/ of a folder, so
# that neither a failed job nor an input remade costs training.


rule pretrain:
    input:
        dataset=phase_dataset_files,
        tokenizer="results/{corpus}/{tokenizer}/tokenizer.json",
        initial=initial_encoder,
    output:
        config="results/{corpus}/{tokenizer}/{dataset}/{encoder}{phase}/config.json",
        weights="results/{corpus}/{tokenizer}/{dataset}/{encoder}{phase}/model.safetensors",
        tokenizer="results/{corpus}/{tokenizer}/{dataset}/{encoder}{phase}/tokenizer.json",
        tokenizer_config="results/{corpus}/{tokenizer}/{dataset}/{encoder}{phase}/tokenizer_config.json",
        records="results/{corpus}/{tokenizer}/{dataset}/{encoder}{phase}/metrics.jsonl",
        metrics="results/{corpus}/{tokenizer}/{dataset}/{encoder}{phase}/metrics.json",
        guesses="results/{corpus}/{tokenizer}/{dataset}/{encoder}{phase}/masked_examples.jsonl",
        best="results/{corpus}/{tokenizer}/{dataset}/{encoder}{phase}/best/model.safetensors",
    log:
        "logs/{corpus}/{tokenizer}/{dataset}/{encoder}{phase}/pretrain.log",
    benchmark:
        "logs/{corpus}/{tokenizer}/{dataset}/{encoder}{phase}/pretrain.benchmark.tsv"
    priority: FIRST
    conda:
        "../envs/pipeline.yaml"
    threads: claim(16)
    resources:
        **SEVERAL_NODES,
        mem_mb=pretraining_memory,
        runtime=pretraining_minutes,
        nodes=1,
        gpu=gpus,
        processes=processes,
        device="auto",
        precision="auto",
        compile="auto",
        checkpoint_seconds=120,
        gradient_accumulation_steps=0,
        gradient_checkpointing=0,
    params:
        args=pretraining_flags,
        code=code("pretrain.py"),
        launcher=launcher,
        monitoring=monitoring_flags,
        machine=pretraining_compute_flags,
    shell:
        "{params.launcher} scripts/pretrain.py --dataset $(dirname {input.dataset[0]})"
        " --tokenizer {input.tokenizer} --output $(dirname {output.config})"
        " --run-dir $(dirname {output.config})/.runs"
        " {params.args:q} {params.monitoring:q} {params.machine:q} --log {log}"


rule show_pretraining:
    input:
        dataset=phase_dataset_files,
        tokenizer="results/{corpus}/{tokenizer}/tokenizer.json",
        config="results/{corpus}/{tokenizer}/{dataset}/{encoder}{phase}/config.json",
        weights="results/{corpus}/{tokenizer}/{dataset}/{encoder}{phase}/model.safetensors",
        records="results/{corpus}/{tokenizer}/{dataset}/{encoder}{phase}/metrics.jsonl",
        metrics="results/{corpus}/{tokenizer}/{dataset}/{encoder}{phase}/metrics.json",
        guesses="results/{corpus}/{tokenizer}/{dataset}/{encoder}{phase}/masked_examples.jsonl",
    output:
        curve=report(
            "results/{corpus}/{tokenizer}/{dataset}/{encoder}{phase}/loss_curve.svg",
            caption="../report/loss_curve.rst",
            category="Pretraining",
            subcategory="{corpus}",
            labels={"encoder": "{encoder}{phase}", "data set": "{dataset}", "figure": "loss"},
        ),
        examples=report(
            "results/{corpus}/{tokenizer}/{dataset}/{encoder}{phase}/masked_examples.html",
            caption="../report/masked_examples.rst",
            category="Pretraining",
            subcategory="{corpus}",
            labels={
                "encoder": "{encoder}{phase}",
                "data set": "{dataset}",
                "figure": "masked words",
            },
        ),
        diagnosis="results/{corpus}/{tokenizer}/{dataset}/{encoder}{phase}/diagnosis.json",
    log:
        "logs/{corpus}/{tokenizer}/{dataset}/{encoder}{phase}/show_pretraining.log",
    benchmark:
        "logs/{corpus}/{tokenizer}/{dataset}/{encoder}{phase}/show_pretraining.benchmark.tsv"
    conda:
        "../envs/pipeline.yaml"
    threads: claim(1)
    resources:
        mem_mb=memory(4000),
        runtime=minutes(60),
        device="cpu",
        precision="fp32",
    params:
        code=code("show_pretraining.py"),
        machine=compute_flags,
    shell:
        "python scripts/show_pretraining.py --model $(dirname {input.config})"
        " --dataset $(dirname {input.dataset[0]}) --tokenizer {input.tokenizer}"
        " --output $(dirname {output.diagnosis}) {params.machine:q} --log {log}"
