"""The service's board."""

from __future__ import annotations

from deploy.grafana.panels import Board, Panel

HERE = 'job=~"$job", instance=~"$instance"'
"""The instances that are looked at; recorded series know jobs only."""
NOT_PROBES = 'route!~"/healthz|/readyz|/metrics|/v2/health/.*|/static/.*|none"'
RATE = "[$__rate_interval]"


def _rate(metric: str, by: str, selector: str = "") -> str:
    matchers = f"{HERE}, {selector}" if selector else HERE
    return f"sum by ({by}) (rate({metric}{{{matchers}}}{RATE}))"


def _quantile(share: float, metric: str, by: str = "", selector: str = "") -> str:
    """Series without an observation have no quantile, and are left out."""
    return f"histogram_quantile({share}, {_rate(f'{metric}_bucket', f'le, {by}' if by else 'le', selector)}) >= 0"


def _quantiles(metric: str, selector: str = "") -> dict[str, str]:
    return {name: _quantile(share, metric, selector=selector) for name, share in (("p50", 0.5), ("p95", 0.95), ("p99", 0.99))}


SECONDS, BURN = "gan_http_request_duration_seconds", "{{job}}, the last "

TRAFFIC = [
    Panel(title="Requests by route", unit="reqps", queries={"{{route}}": _rate("gan_http_requests_total", "route")}),
    Panel(title="Answers by code", unit="reqps", queries={"{{code}}": _rate("gan_http_requests_total", "code")}),
    Panel(
        title="5xx of valid requests",
        unit="percentunit",
        top=1,
        queries={"{{route}}": 'job_route:gan_http_errors:ratio5m{job=~"$job"}'},
    ),
    Panel(
        title="Refused, and left by their clients",
        unit="reqps",
        queries={"{{reason}}": _rate("gan_rejected_total", "reason"), "client gone": _rate("gan_cancelled_total", "job")},
    ),
    Panel(
        title="Error budget burnt",
        about="1 uses up in thirty days what the service level allows; 14.4 and 6 call somebody.",
        queries={BURN + window: f'job:gan_slo_errors:ratio{window}{{job=~"$job"}} / 0.005' for window in ("1h", "6h", "3d")},
    ),
]

LATENCY = [
    Panel(
        title="How long answers take",
        kind="heatmap",
        unit="s",
        queries={"{{le}}": f"sum by (le) (increase({SECONDS}_bucket{{{HERE}, {NOT_PROBES}}}{RATE}))"},
    ),
    Panel(title="Quantiles, all routes", unit="s", queries=_quantiles(SECONDS, NOT_PROBES)),
    Panel(
        title="p95 by route and model",
        unit="s",
        queries={"{{route}} {{model}}": f'job_route_model:{SECONDS}:p95_5m{{job=~"$job"}}'},
    ),
    Panel(title="p95 by where it came from", unit="s", queries={"{{cache}}": _quantile(0.95, SECONDS, "cache", NOT_PROBES)}),
    Panel(
        title="Longer than 250 ms",
        unit="percentunit",
        about="Of the answers from a model; the service level allows .01.",
        queries={BURN + window: f'job:gan_slo_slow:ratio{window}{{job=~"$job"}}' for window in ("5m", "1h", "6h", "3d")},
    ),
]

QUEUE = [
    Panel(title="Images that wait", queries={"{{instance}}": f"sum by (instance) (gan_queue_depth{{{HERE}}})"}),
    Panel(title="Wait for an inference", unit="s", queries=_quantiles("gan_queue_wait_seconds")),
    Panel(
        title="Images of an inference",
        kind="heatmap",
        queries={"{{le}}": f"sum by (le) (increase(gan_batch_size_bucket{{{HERE}}}{RATE}))"},
    ),
    Panel(title="Images of an inference, mean", queries={"{{job}}": 'job:gan_batch_size:mean5m{job=~"$job"}'}),
    Panel(
        title="Rows that somebody wanted",
        unit="percentunit",
        top=1,
        about="The rest filled batches of a fixed size.",
        queries={"{{job}}": 'job:gan_batch_fill:ratio5m{job=~"$job"}'},
    ),
    Panel(
        title="Refused by a full queue", unit="percentunit", queries={"{{job}}": 'job:gan_queue_refusals:ratio5m{job=~"$job"}'}
    ),
]

CACHE = [
    Panel(
        title="Kept answers that were asked for",
        unit="percentunit",
        top=1,
        queries={"{{job}}": 'job:gan_cache_hits:ratio5m{job=~"$job"}'},
    ),
    Panel(title="Where samples came from", unit="reqps", queries={"{{result}}": _rate("gan_cache_requests_total", "result")}),
    Panel(title="Kept answers", unit="bytes", queries={"{{instance}}": f"sum by (instance) (gan_cache_bytes{{{HERE}}})"}),
]

WORK = [
    Panel(
        title="Inferences",
        unit="ops",
        queries={"{{model}} {{provider}}": _rate("gan_inference_duration_seconds_count", "model, provider")},
    ),
    Panel(
        title="Inference, p95",
        unit="s",
        queries={"{{model}} {{provider}}": _quantile(0.95, "gan_inference_duration_seconds", "model, provider")},
    ),
    Panel(
        title="Cores busy with inference",
        queries={"{{model}} {{provider}}": _rate("gan_inference_duration_seconds_sum", "model, provider")},
    ),
    Panel(title="Encoding, p95", unit="s", queries={"{{format}}": _quantile(0.95, "gan_encode_duration_seconds", "format")}),
    Panel(title="Cores busy with encoding", queries={"{{format}}": _rate("gan_encode_duration_seconds_sum", "format")}),
]

LIFE = [
    Panel(title="Ready", kind="number", top=1, queries={"{{instance}}": f"min by (instance) (gan_ready{{{HERE}}})"}),
    Panel(
        title="The same bytes",
        kind="number",
        top=1,
        about="0: the file loaded last gives a seed other bytes each time.",
        queries={"{{model}}": f"min by (model) (gan_determinism_check_ok{{{HERE}}})"},
    ),
    Panel(
        title="Models and their versions",
        kind="table",
        queries={"": f"max by (instance, model, digest, runtime, batching, goldens, encoder) (gan_model_info{{{HERE}}} == 1)"},
    ),
    Panel(
        title="Model files loaded anew",
        queries={"{{result}}": f"sum by (result) (increase(gan_model_swaps_total{{{HERE}}}{RATE}))"},
    ),
    Panel(
        title="Workers that fell",
        queries={"{{instance}}": f"sum by (instance) (increase(gan_worker_crashes_total{{{HERE}}}{RATE}))"},
    ),
    Panel(title="Log lines that nobody read in time", queries={"{{instance}}": _rate("gan_log_dropped_total", "instance")}),
    Panel(title="Alerts that fire", kind="number", queries={"": 'count(ALERTS{alertstate="firing"}) or vector(0)'}),
    Panel(
        title="Up for",
        kind="number",
        unit="s",
        queries={"{{instance}}": f"time() - max by (instance) (gan_process_start_time_seconds{{{HERE}}})"},
    ),
]

MACHINE = [
    Panel(title="CPU cores", queries={"{{instance}}": _rate("gan_process_cpu_seconds_total", "instance")}),
    Panel(title="Resident memory", unit="bytes", queries={"{{instance}}": f"gan_process_resident_memory_bytes{{{HERE}}}"}),
    Panel(
        title="Open files and processes",
        queries={
            "{{instance}} files": f"gan_process_open_fds{{{HERE}}}",
            "{{instance}} processes": f"gan_processes{{{HERE}}}",
        },
    ),
]

GPU = [
    Panel(
        title="GPU busy", unit="percentunit", top=1, queries={"{{instance}} {{gpu}}": f"gan_gpu_utilisation_ratio{{{HERE}}}"}
    ),
    Panel(
        title="GPU memory",
        unit="bytes",
        queries={
            "{{instance}} {{gpu}} used": f"gan_gpu_memory_used_bytes{{{HERE}}}",
            "{{instance}} {{gpu}} of": f"gan_gpu_memory_total_bytes{{{HERE}}}",
        },
    ),
    Panel(title="GPU temperature", unit="celsius", queries={"{{instance}} {{gpu}}": f"gan_gpu_temperature_celsius{{{HERE}}}"}),
]

BOARD = Board(
    uid="gan-service",
    title="gan-serve: the service",
    about="What clients get, what it costs, and what is served.",
    choices={"job": "label_values(gan_ready, job)", "instance": 'label_values(gan_ready{job=~"$job"}, instance)'},
    rows={
        "Traffic and errors": TRAFFIC,
        "Latency": LATENCY,
        "Queue and batches": QUEUE,
        "Cache": CACHE,
        "Inference and encoding": WORK,
        "Life": LIFE,
        "Processes": MACHINE,
        "GPU": GPU,
    },
)
