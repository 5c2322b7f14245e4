# From documents to a vocabulary.
#
# Reads results/{corpus}/documents/train.parquet, or an existing vocabulary; writes
# results/{corpus}/{tokenizer}/tokenizer.json and what transformers needs beside it.


rule train_tokenizer:
    input:
        unpack(tokenizer_source),
    output:
        tokenizer="results/{corpus}/{tokenizer}/tokenizer.json",
        config="results/{corpus}/{tokenizer}/tokenizer_config.json",
        metrics="results/{corpus}/{tokenizer}/metrics.json",
    log:
        "logs/{corpus}/{tokenizer}/train_tokenizer.log",
    benchmark:
        "logs/{corpus}/{tokenizer}/train_tokenizer.benchmark.tsv"
    wildcard_constraints:
        tokenizer=one_of(CONFIG.names("tokenizers")),
    priority: FIRST
    conda:
        "../envs/pipeline.yaml"
    threads: claim(4)
    resources:
        mem_mb=memory(2000),
        runtime=minutes(120),
    params:
        args=tokenizer_flags,
        code=code("train_tokenizer.py"),
        source=tokenizer_source_flags,
        machine=threads_flags,
    shell:
        "python scripts/train_tokenizer.py {params.source:q} {params.args:q}"
        " --output results/{wildcards.corpus}/{wildcards.tokenizer}"
        " {params.machine:q} --log {log}"
