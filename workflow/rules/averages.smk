# From the reports of several tasks to their average.
#
# Reads the reports that an entry of `averages` names; writes results/{average}_report.txt and
# .json.


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
