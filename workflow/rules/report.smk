# From evaluations to what a person reads.
#
# Reads the evaluations of every seed, with and without pretraining, the baselines and the
# metrics of every stage before them; writes
# results/{report}_report.txt, .json and .html, and the page's main figure. Reads the reports that
# an entry of `averages` names; writes results/{average}_report.txt and .json.


rule report:
    input:
        unpack(report_sources),
    output:
        text=report(
            "results/{report}_report.txt",
            caption="../report/report.rst",
            category="Reports",
            labels={"report": "{report}", "content": "text"},
        ),
        json="results/{report}_report.json",
        html=report(
            "results/{report}_report.html",
            caption="../report/page.rst",
            category="Reports",
            labels={"report": "{report}", "content": "page"},
        ),
        figure=report(
            "results/{report}_figure.svg",
            caption="../report/figure.rst",
            category="Reports",
            labels={"report": "{report}", "content": "figure"},
        ),
    log:
        "logs/{report}_report.log",
    benchmark:
        "logs/{report}_report.benchmark.tsv"
    conda:
        "../envs/pipeline.yaml"
    threads: claim(1)
    resources:
        mem_mb=4000,
    params:
        args=report_flags,
        code=code("report.py"),
        sources=report_source_flags,
    shell:
        "python scripts/report.py {params.args:q} {params.sources:q}"
        " --output-text {output.text} --output-json {output.json}"
        " --output-html {output.html} --output-figure {output.figure} --log {log}"


rule average_report:
    input:
        average_reports,
    output:
        text=report(
            "results/{average}_report.txt",
            caption="../report/average.rst",
            category="Reports",
            labels={"report": "{average}", "content": "average"},
        ),
        json="results/{average}_report.json",
    log:
        "logs/{average}_report.log",
    benchmark:
        "logs/{average}_report.benchmark.tsv"
    conda:
        "../envs/pipeline.yaml"
    threads: claim(1)
    resources:
        mem_mb=1000,
    params:
        args=average_flags,
        code=code("average_report.py"),
    shell:
        "python scripts/average_report.py {params.args:q}"
        " --output-text {output.text} --output-json {output.json} --log {log}"
