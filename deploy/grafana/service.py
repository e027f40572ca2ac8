"""The dashboard of the service."""

from __future__ import annotations

from deploy.grafana.panels import Board, Panel

HERE = 'job=~"$job", instance=~"$instance"'
"""Selector of the chosen instances; recorded series have the label job only."""
MODEL_LABELS = "instance, model, digest, runtime, batching, goldens, encoder, files"
NOT_PROBES = 'route!~"/healthz|/readyz|/metrics|/v2/health/.*|/static/.*|none"'
RATE = "[$__rate_interval]"


def _rate(metric: str, by: str, selector: str = "") -> str:
    matchers = f"{HERE}, {selector}" if selector else HERE
    return f"sum by ({by}) (rate({metric}{{{matchers}}}{RATE}))"


def _quantile(share: float, metric: str, by: str = "", selector: str = "") -> str:
    """``>= 0`` drops series without an observation, whose quantile is NaN."""
    return f"histogram_quantile({share}, {_rate(f'{metric}_bucket', f'le, {by}' if by else 'le', selector)}) >= 0"


def _quantiles(metric: str, selector: str = "") -> dict[str, str]:
    return {name: _quantile(share, metric, selector=selector) for name, share in (("p50", 0.5), ("p95", 0.95), ("p99", 0.99))}


SECONDS, BURN = "gan_http_request_duration_seconds", "{{job}}, the last "

TRAFFIC = [
    Panel(title="Requests by route", unit="reqps", queries={"{{route}}": _rate("gan_http_requests_total", "route")}),
    Panel(title="Responses by code", unit="reqps", queries={"{{code}}": _rate("gan_http_requests_total", "code")}),
    Panel(
        title="5xx of valid requests",
        unit="percentunit",
        top=1,
        queries={"{{route}}": 'job_route:gan_http_errors:ratio5m{job=~"$job"}'},
    ),
    Panel(
        title="Rejected and cancelled requests",
        unit="reqps",
        queries={"{{reason}}": _rate("gan_rejected_total", "reason"), "client gone": _rate("gan_cancelled_total", "job")},
    ),
    Panel(
        title="Error budget burn rate",
        description="1 spends in thirty days what the service level allows; 14.4 and 6 page.",
        queries={BURN + window: f'job:gan_slo_errors:ratio{window}{{job=~"$job"}} / 0.005' for window in ("1h", "6h", "3d")},
    ),
]

LATENCY = [
    Panel(
        title="Latency",
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
    Panel(title="p95 by cache result", unit="s", queries={"{{cache}}": _quantile(0.95, SECONDS, "cache", NOT_PROBES)}),
    Panel(
        title="Slower than 250 ms",
        unit="percentunit",
        description="Share of responses from a model; the service level allows .01.",
        queries={BURN + window: f'job:gan_slo_slow:ratio{window}{{job=~"$job"}}' for window in ("5m", "1h", "6h", "3d")},
    ),
]

QUEUE = [
    Panel(title="Queued images", queries={"{{instance}}": f"sum by (instance) (gan_queue_depth{{{HERE}}})"}),
    Panel(title="Queue wait", unit="s", queries=_quantiles("gan_queue_wait_seconds")),
    Panel(
        title="Batch size",
        kind="heatmap",
        queries={"{{le}}": f"sum by (le) (increase(gan_batch_size_bucket{{{HERE}}}{RATE}))"},
    ),
    Panel(title="Batch size, mean", queries={"{{job}}": 'job:gan_batch_size:mean5m{job=~"$job"}'}),
    Panel(
        title="Batch fill",
        unit="percentunit",
        top=1,
        description="Share of rows that were requested; the rest pads batches of a fixed size.",
        queries={"{{job}}": 'job:gan_batch_fill:ratio5m{job=~"$job"}'},
    ),
    Panel(
        title="Rejected by a full queue", unit="percentunit", queries={"{{job}}": 'job:gan_queue_refusals:ratio5m{job=~"$job"}'}
    ),
]

CACHE = [
    Panel(
        title="Cache hit ratio",
        unit="percentunit",
        top=1,
        queries={"{{job}}": 'job:gan_cache_hits:ratio5m{job=~"$job"}'},
    ),
    Panel(title="Samples by cache result", unit="reqps", queries={"{{result}}": _rate("gan_cache_requests_total", "result")}),
    Panel(title="Cache size", unit="bytes", queries={"{{instance}}": f"sum by (instance) (gan_cache_bytes{{{HERE}}})"}),
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

HEALTH = [
    Panel(title="Ready", kind="number", top=1, queries={"{{instance}}": f"min by (instance) (gan_ready{{{HERE}}})"}),
    Panel(
        title="Determinism check",
        kind="number",
        top=1,
        description="0: the file loaded last gives different bytes for the same seed.",
        queries={"{{model}}": f"min by (model) (gan_determinism_check_ok{{{HERE}}})"},
    ),
    Panel(
        title="Model versions",
        kind="table",
        queries={"": f"max by ({MODEL_LABELS}) (gan_model_info{{{HERE}}} == 1)"},
    ),
    Panel(
        title="Model reloads",
        queries={"{{result}}": f"sum by (result) (increase(gan_model_swaps_total{{{HERE}}}{RATE}))"},
    ),
    Panel(
        title="Refused model files",
        kind="number",
        top=1,
        description="Above 0: a file is refused, or a path has none; a restart of the whole service would fail.",
        queries={"{{instance}}": f"max by (instance) (gan_model_files_refused{{{HERE}}})"},
    ),
    Panel(
        title="Worker crashes",
        queries={"{{instance}}": f"sum by (instance) (increase(gan_worker_crashes_total{{{HERE}}}{RATE}))"},
    ),
    Panel(title="Dropped log lines", queries={"{{instance}}": _rate("gan_log_dropped_total", "instance")}),
    Panel(title="Firing alerts", kind="number", queries={"": 'count(ALERTS{alertstate="firing"}) or vector(0)'}),
    Panel(
        title="Uptime",
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
        title="GPU utilisation",
        unit="percentunit",
        top=1,
        queries={"{{instance}} {{gpu}}": f"gan_gpu_utilisation_ratio{{{HERE}}}"},
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
    description="Requests, latency, cost and models of the service.",
    variables={"job": "label_values(gan_ready, job)", "instance": 'label_values(gan_ready{job=~"$job"}, instance)'},
    rows={
        "Traffic and errors": TRAFFIC,
        "Latency": LATENCY,
        "Queue and batches": QUEUE,
        "Cache": CACHE,
        "Inference and encoding": WORK,
        "Health": HEALTH,
        "Processes": MACHINE,
        "GPU": GPU,
    },
)
