# From an encoder from elsewhere and a corpus to what it takes to adapt the one to the other.
#
# Reads results/imported/{base}/, the encoder as it was, and results/{corpus}/documents/; writes
# results/{corpus}/{base}+{pieces}/, its tokenizer, extended by that many pieces, from which on
# dataset.smk and pretrain.smk do the rest. Reads any model folder; writes
# results/{model}/masked_lm/{evaluated}.json, its loss on the held-out text of a corpus.


rule extend_tokenizer:
    input:
        model=extended_model,
        documents=expand(
            "results/{{corpus}}/documents/{split}.parquet", split=["train", "validation"]
        ),
    output:
        tokenizer="results/{corpus}/{tokenizer}/tokenizer.json",
        config="results/{corpus}/{tokenizer}/tokenizer_config.json",
        extension="results/{corpus}/{tokenizer}/extension.json",
        metrics="results/{corpus}/{tokenizer}/metrics.json",
    log:
        "logs/{corpus}/{tokenizer}/extend_tokenizer.log",
    benchmark:
        "logs/{corpus}/{tokenizer}/extend_tokenizer.benchmark.tsv"
    wildcard_constraints:
        tokenizer=one_of(CONFIG.adapted_tokenizers),
    conda:
        "../envs/pipeline.yaml"
    threads: claim(1)
    resources:
        mem_mb=memory(4000),
        runtime=minutes(60),
    params:
        args=extension_flags,
        code=code("extend_tokenizer.py"),
    shell:
        "python scripts/extend_tokenizer.py --documents results/{wildcards.corpus}/documents"
        " {params.args:q} --output $(dirname {output.tokenizer}) --log {log}"


rule evaluate_masked_lm:
    input:
        model=expand(
            "results/{{model}}/{file}", file=["config.json", "model.safetensors", "tokenizer.json"]
        ),
        documents="results/{evaluated}/documents/validation.parquet",
    output:
        "results/{model}/masked_lm/{evaluated}.json",
    log:
        "logs/{model}/masked_lm/{evaluated}.log",
    benchmark:
        "logs/{model}/masked_lm/{evaluated}.benchmark.tsv"
    conda:
        "../envs/pipeline.yaml"
    threads: claim(8, share=4)
    resources:
        mem_mb=memory(4000, times_input=4),
        runtime=minutes(60, per_gb=60),
        gpu=gpus,
        device="auto",
        precision="fp32",
    params:
        code=code("evaluate_masked_lm.py"),
        machine=compute_flags,
    shell:
        "python scripts/evaluate_masked_lm.py --model results/{wildcards.model}"
        " --documents $(dirname {input.documents}) --output {output} {params.machine:q} --log {log}"
