# From sources to documents.
#
# Reads what corpora and tasks name; writes resources/{owner}/{name} as fetched and
# results/{corpus}/documents/, one row a document, split once by document. A corpus of many
# files is extracted in parts, side by side, which one job then puts together; a mixture is made
# of other corpora's documents.


rule download:
    output:
        "resources/{file}",
    log:
        "logs/resources/{file}.log",
    benchmark:
        "logs/resources/{file}.benchmark.tsv"
    wildcard_constraints:
        file=one_of(file.removeprefix("resources/") for file in CONFIG.files.downloads),
    priority: FIRST
    conda:
        "../envs/pipeline.yaml"
    threads: claim(1)
    resources:
        mem_mb=memory(500),
        runtime=minutes(120),
    params:
        args=download_flags,
        code=code("download.py"),
        mirror=mirror_flags,
    shell:
        "python scripts/download.py {params.args:q} --output {output:q} {params.mirror:q} --log {log:q}"


rule extract_part:
    input:
        sources=part_files,
        tasks=removed_tasks,
    output:
        temp("results/{corpus}/documents/.parts/{part}.arrow"),
    log:
        "logs/{corpus}/parts/{part}.log",
    benchmark:
        "logs/{corpus}/parts/{part}.benchmark.tsv"
    wildcard_constraints:
        part=r"(input|train|validation|test)-\d{5}-of-\d{5}",
    priority: FIRST
    group:
        "parts"
    conda:
        "../envs/pipeline.yaml"
    threads: claim(1)
    resources:
        mem_mb=memory(1000),
        runtime=minutes(10, per_gb=30),
        jobs_at_a_time=1,
    params:
        args=part_flags,
        code=code("extract_part.py"),
        files=part_file_flags,
    shell:
        "python scripts/extract_part.py {params.args:q} {params.files:q} --output {output} --log {log}"


rule extract_documents:
    input:
        unpack(extraction_inputs),
    output:
        train="results/{corpus}/documents/train.parquet",
        validation="results/{corpus}/documents/validation.parquet",
        test="results/{corpus}/documents/test.parquet",
        dropped="results/{corpus}/documents/dropped.tsv.gz",
        metrics="results/{corpus}/documents/metrics.json",
    log:
        "logs/{corpus}/extract_documents.log",
    benchmark:
        "logs/{corpus}/extract_documents.benchmark.tsv"
    wildcard_constraints:
        corpus=one_of(name for name in CONFIG.names("corpora") if not CONFIG.mixture(name)),
    priority: FIRST
    conda:
        "../envs/pipeline.yaml"
    threads: claim(1)
    resources:
        mem_mb=extraction_memory,
        runtime=minutes(60, per_gb=30),
    params:
        args=corpus_flags,
        code=code("extract_documents.py"),
        files=corpus_file_flags,
    shell:
        "python scripts/extract_documents.py {params.args:q} {params.files:q}"
        " --output results/{wildcards.corpus}/documents --log {log}"


rule mix_documents:
    input:
        mixture_files,
    output:
        train="results/{corpus}/documents/train.parquet",
        validation="results/{corpus}/documents/validation.parquet",
        test="results/{corpus}/documents/test.parquet",
        dropped="results/{corpus}/documents/dropped.tsv.gz",
        metrics="results/{corpus}/documents/metrics.json",
    log:
        "logs/{corpus}/mix_documents.log",
    benchmark:
        "logs/{corpus}/mix_documents.benchmark.tsv"
    wildcard_constraints:
        corpus=one_of(name for name in CONFIG.names("corpora") if CONFIG.mixture(name)),
    priority: FIRST
    conda:
        "../envs/pipeline.yaml"
    threads: claim(1)
    resources:
        mem_mb=memory(1000),
        runtime=minutes(60, per_gb=30),
    params:
        args=mixture_flags,
        code=code("mix_documents.py"),
    shell:
        "python scripts/mix_documents.py {params.args:q}"
        " --output results/{wildcards.corpus}/documents --log {log}"
