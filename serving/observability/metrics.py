"""Prometheus metrics of the service; dashboards and alerts rely on their names.

No label takes a value from a client. Worker processes share their values by files in a directory of the launcher, so any worker
can expose the metrics of all.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest, values
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead
from prometheus_client.registry import Collector

from serving.errors import DeadlineExceeded, EngineLost, OutOfMemory, Problem, QueueFull, RateLimited
from serving.observability.metric_files import use_allocated_files

LATENCY_BUCKETS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""Seconds; .25 is the threshold of the latency objective and must stay a bucket."""
STEP_BUCKETS = (0.00001, 0.000025, 0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.1, 0.25, 1.0, 10.0)
BATCH_BUCKETS = (1, 2, 4, 8, 16, 32, 64, 128, 256)
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


class Metrics:
    """Every metric of one process.

    Args:
        directory: directory in which processes share values; None for a single process.
        collectors: collectors that are read at each scrape.
    """

    def __init__(self, directory: Path | None = None, collectors: Sequence[Collector] = ()) -> None:
        self._directory = directory
        self._collectors = collectors
        self.registry = registry = CollectorRegistry()
        self.requests = Counter("gan_http_requests", "Answered requests.", ["route", "method", "code"], registry=registry)
        self.duration = Histogram(
            "gan_http_request_duration_seconds",
            "Time from a request's arrival in the application to its response.",
            ["route", "cache", "model"],
            buckets=LATENCY_BUCKETS,
            registry=registry,
        )
        self.queue_depth = Gauge(
            "gan_queue_depth", "Images that wait for an inference.", registry=registry, multiprocess_mode="livesum"
        )
        self.queue_wait = Histogram(
            "gan_queue_wait_seconds",
            "Time from a request's submission to the start of its inference.",
            buckets=STEP_BUCKETS,
            registry=registry,
        )
        self.batch_size = Histogram("gan_batch_size", "Images per inference.", buckets=BATCH_BUCKETS, registry=registry)
        self.padding = Counter("gan_batch_padding_rows", "Rows computed only to fill a batch of fixed size.", registry=registry)
        self.inference = Histogram(
            "gan_inference_duration_seconds",
            "Duration of one inference, which is one batch.",
            ["model", "provider"],
            buckets=STEP_BUCKETS,
            registry=registry,
        )
        self.encode = Histogram(
            "gan_encode_duration_seconds",
            "Time to encode the rows of one response.",
            ["format"],
            buckets=STEP_BUCKETS,
            registry=registry,
        )
        self.cached = Counter("gan_cache_requests", "Requests for samples by cache result.", ["result"], registry=registry)
        self.cache_bytes = Gauge(
            "gan_cache_bytes", "Size of the cached responses.", registry=registry, multiprocess_mode="livesum"
        )
        self.cancelled = Counter("gan_cancelled", "Requests whose client disconnected before the response.", registry=registry)
        self.rejected = Counter(
            "gan_rejected",
            "Requests refused by a full queue, too little memory, deadline, rate limit or engine loss.",
            ["reason"],
            registry=registry,
        )
        self.log_dropped = Counter(
            "gan_log_dropped", "Lines of the log dropped because its reader was too slow or gone.", registry=registry
        )
        self.swaps = Counter("gan_model_swaps", "Reloads of changed model files by result.", ["result"], registry=registry)
        self.refused_files = Gauge(
            "gan_model_files_refused",
            "Model files that are refused at present, and paths of GAN_MODELS without one; a restart would fail.",
            registry=registry,
            multiprocess_mode="livemax",
        )
        self.model_info = Gauge(
            "gan_model_info",
            "1 for each model in service, 0 for replaced ones.",
            ["model", "digest", "runtime", "batching", "goldens", "encoder", "files"],
            registry=registry,
            multiprocess_mode="livemax",
        )
        self.ready = Gauge("gan_ready", "Whether all workers are ready.", registry=registry, multiprocess_mode="livemin")
        self.determinism = Gauge(
            "gan_determinism_check_ok",
            "Whether the file loaded last gave the same bytes for a seed at every batch size.",
            ["model"],
            registry=registry,
            multiprocess_mode="livemin",
        )
        self._encoded: dict[str, Histogram] = {}
        self._shown_models: dict[str, Gauge] = {}
        self.came_from = {result: self.cached.labels(result) for result in ("hit", "miss", "coalesced")}
        for result in ("swapped", "refused"):
            self.swaps.labels(result)
        for reason in ("queue_full", "out_of_memory", "deadline_exceeded", "rate_limited", "engine_lost"):
            self.rejected.labels(reason)

    def record_model(self, name: str, facts: Mapping[str, str]) -> None:
        """Record a model as the one in service under its name.

        Args:
            name: name of the model.
            facts: the other labels of ``gan_model_info``.
        """
        self.forget_model(name)
        self._shown_models[name] = self.model_info.labels(model=name, **facts)
        self._shown_models[name].set(1)
        self.record_determinism(name, is_ok=True)

    def record_determinism(self, name: str, *, is_ok: bool) -> None:
        """Record whether the file loaded last for this model gave the same bytes for a seed at every batch size."""
        self.determinism.labels(name).set(is_ok)

    def forget_model(self, name: str) -> None:
        """Record that the model of this name is no longer in service."""
        if name in self._shown_models:
            self._shown_models.pop(name).set(0)

    def record_refusal(self, problem: Problem) -> None:
        """Count a problem that refuses a request without looking at it."""
        if isinstance(problem, OutOfMemory | QueueFull | DeadlineExceeded | RateLimited | EngineLost):
            self.rejected.labels(problem.code).inc()

    def response_series(self, route: str, method: str, code: int, cache: str, model: str) -> tuple[Counter, Histogram]:
        """The counter and the histogram of responses with these labels; ``model`` is the name of a served model, or empty."""
        known_method = method if method in METHODS else "other"
        return self.requests.labels(route, known_method, str(code)), self.duration.labels(route, cache, model)

    def expect_errors(self, route: str, method: str) -> None:
        """Expose the counts of a route's 5xx from the start: Prometheus sees no increase in a series that begins above 0."""
        for code in (500, 503, 504):
            self.requests.labels(route, method, str(code))

    def record_encoding(self, name: str, seconds: float) -> None:
        """Record the time to encode a response in the format of that name."""
        if name not in self._encoded:
            self._encoded[name] = self.encode.labels(name)
        self._encoded[name].observe(seconds)

    def exposition(self) -> tuple[bytes, str]:
        """The metrics of all processes in Prometheus's text format, and its media type."""
        registry = CollectorRegistry()
        if self._directory is None:
            registry.register(self.registry)
        else:
            MultiProcessCollector(registry, str(self._directory))  # type: ignore[no-untyped-call]
        for collector in self._collectors:
            registry.register(collector)
        return generate_latest(registry), CONTENT_TYPE_LATEST


def share_metrics(directory: Path, index: int) -> None:
    """Store metrics in the files of worker slot ``index``: counters continue those of a crashed predecessor, gauges restart.

    The number of files therefore stays that of the workers. Call this before any metric is created.
    """
    mark_process_dead(index, str(directory))  # type: ignore[no-untyped-call]
    use_allocated_files()
    values.ValueClass = values.MultiProcessValue(lambda: index)  # type: ignore[no-untyped-call]
