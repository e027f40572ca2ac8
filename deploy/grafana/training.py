"""The dashboard of the training job."""

from __future__ import annotations

from deploy.grafana.panels import Board, Panel

HERE = 'job=~"$job", instance=~"$instance"'

BOARD = Board(
    uid="gan-training",
    title="gan-serve: training",
    description="The state of a run while it trains.",
    variables={
        "job": "label_values(gan_training_step, job)",
        "instance": 'label_values(gan_training_step{job=~"$job"}, instance)',
    },
    rows={
        "Progress": [
            Panel(
                title="Steps done",
                kind="number",
                unit="percentunit",
                top=1,
                queries={"{{instance}}": f"gan_training_step{{{HERE}}} / gan_training_planned_steps{{{HERE}}}"},
            ),
            Panel(title="Step", queries={"{{instance}}": f"gan_training_step{{{HERE}}}"}),
            Panel(title="Images a second", queries={"{{instance}}": f"gan_training_images_per_second{{{HERE}}}"}),
            Panel(title="Images seen", kind="number", queries={"{{instance}}": f"gan_training_images_total{{{HERE}}}"}),
            Panel(
                title="Since the last record and checkpoint",
                unit="s",
                queries={
                    "{{instance}} record": f"time() - gan_training_logged_timestamp_seconds{{{HERE}}}",
                    "{{instance}} checkpoint": f"time() - gan_training_checkpoint_timestamp_seconds{{{HERE}}}",
                },
            ),
        ],
        "The game": [
            Panel(title="Losses", low=None, queries={"{{instance}} {{player}}": f"gan_training_loss{{{HERE}}}"}),
            Panel(
                title="Accuracy of D",
                unit="percentunit",
                top=1,
                queries={"{{instance}} {{of}}": f"gan_training_accuracy{{{HERE}}}"},
            ),
            Panel(title="Other scalars", low=None, queries={"{{instance}} {{name}}": f"gan_training_scalar{{{HERE}}}"}),
        ],
        "The samples": [
            Panel(
                title="KID",
                low=None,
                description="Of 1,000 samples at each evaluation, against 1,000 real images; around 0 where they are alike.",
                queries={"{{instance}}": f"gan_training_kid{{{HERE}}}"},
            ),
            Panel(title="Collapse", kind="number", top=1, queries={"{{instance}}": f"gan_training_collapse{{{HERE}}}"}),
        ],
        "The process": [
            Panel(title="CPU cores", queries={"{{instance}}": f"rate(process_cpu_seconds_total{{{HERE}}}[$__rate_interval])"}),
            Panel(title="Resident memory", unit="bytes", queries={"{{instance}}": f"process_resident_memory_bytes{{{HERE}}}"}),
            Panel(title="Open files", queries={"{{instance}}": f"process_open_fds{{{HERE}}}"}),
        ],
    },
)
