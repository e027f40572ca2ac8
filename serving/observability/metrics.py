"""What the service counts and measures, under the names that dashboards and alerts rely on.

No label ever takes a value from a client. With several worker processes prometheus_client keeps the values in files of one
directory, which the launcher owns; any worker then answers for all.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest, values
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead
from prometheus_client.registry import Collector

from serving.errors import DeadlineExceeded, Problem, QueueFull, RateLimited, ShuttingDown

LATENCY_BUCKETS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""Seconds; .25 is the service level's threshold and must stay an exact bucket."""
STEP_BUCKETS = (0.00001, 0.000025, 0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.1, 0.25, 1.0, 10.0)
BATCH_BUCKETS = (1, 2, 4, 8, 16, 32, 64, 128, 256)
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


class BatchMeters:
    """What a batcher records."""

    def __init__(self, metrics: Metrics) -> None:
        self.depth: Callable[[float], None] = metrics.queue_depth.set
        self.wait: Callable[[float], None] = metrics.queue_wait.observe
        self.size: Callable[[float], None] = metrics.batch_size.observe


class Metrics:
    """Every metric of one process.

    Args:
        directory: where several processes share their values; None for a single process.
        collectors: of what is read when somebody asks, the same by whichever process answers.
    """

    def __init__(self, directory: Path | None = None, collectors: Sequence[Collector] = ()) -> None:
        self._directory = directory
        self._collectors = collectors
        self.registry = registry = CollectorRegistry()
        self.requests = Counter("gan_http_requests", "Answered requests.", ["route", "method", "code"], registry=registry)
        self.duration = Histogram(
            "gan_http_request_duration_seconds",
            "Time from a request's arrival in the application to its answer.",
            ["route", "cache", "model"],
            buckets=LATENCY_BUCKETS,
            registry=registry,
        )
        self.queue_depth = Gauge(
            "gan_queue_depth", "Images that wait for an inference.", registry=registry, multiprocess_mode="livesum"
        )
        self.queue_wait = Histogram(
            "gan_queue_wait_seconds",
            "Time that a request waits for its inference to begin.",
            buckets=STEP_BUCKETS,
            registry=registry,
        )
        self.batch_size = Histogram("gan_batch_size", "Images of one inference.", buckets=BATCH_BUCKETS, registry=registry)
        self.padding = Counter(
            "gan_batch_padding_rows", "Rows that were run only to fill a batch of fixed size.", registry=registry
        )
        self.inference = Histogram(
            "gan_inference_duration_seconds",
            "Time of one inference, a batch.",
            ["model", "provider"],
            buckets=STEP_BUCKETS,
            registry=registry,
        )
        self.encode = Histogram(
            "gan_encode_duration_seconds",
            "Time to turn one answer's pixels into bytes.",
            ["format"],
            buckets=STEP_BUCKETS,
            registry=registry,
        )
        self.cached = Counter(
            "gan_cache_requests", "Samples asked for, by where they came from.", ["result"], registry=registry
        )
        self.cache_bytes = Gauge(
            "gan_cache_bytes", "Finished answers that are kept.", registry=registry, multiprocess_mode="livesum"
        )
        self.cancelled = Counter("gan_cancelled", "Requests whose client had gone before the answer.", registry=registry)
        self.rejected = Counter("gan_rejected", "Requests that were refused unseen.", ["reason"], registry=registry)
        self.log_dropped = Counter(
            "gan_log_dropped", "Lines of the log that were dropped because nobody took them.", registry=registry
        )
        self.swaps = Counter("gan_model_swaps", "Model files that were loaded anew.", ["result"], registry=registry)
        self.model_info = Gauge(
            "gan_model_info",
            "The models that are served: 1; those that were replaced: 0.",
            ["model", "digest", "runtime", "batching", "goldens", "encoder", "files"],
            registry=registry,
            multiprocess_mode="livemax",
        )
        self.ready = Gauge(
            "gan_ready", "Whether every worker is ready for requests.", registry=registry, multiprocess_mode="livemin"
        )
        self.determinism = Gauge(
            "gan_determinism_check_ok",
            "Whether the file loaded last gave a seed's bytes alone and in any batch.",
            ["model"],
            registry=registry,
            multiprocess_mode="livemin",
        )
        self._encoded: dict[str, Histogram] = {}
        self._shown_models: dict[str, Gauge] = {}
        self.came_from = {result: self.cached.labels(result) for result in ("hit", "miss", "coalesced")}
        for result in ("swapped", "refused"):
            self.swaps.labels(result)
        for reason in ("queue_full", "shutting_down", "deadline_exceeded", "rate_limited"):
            self.rejected.labels(reason)

    def record_model(self, name: str, facts: Mapping[str, str]) -> None:
        """Show a model as the one in service under its name.

        Args:
            name: the model's name.
            facts: the other labels of ``gan_model_info``, by label.
        """
        self.forget_model(name)
        self._shown_models[name] = self.model_info.labels(model=name, **facts)
        self._shown_models[name].set(1)
        self.determinism.labels(name).set(1)

    def record_nondeterminism(self, name: str) -> None:
        """Say that a file that was to be this model gave a seed's bytes now so, now otherwise."""
        self.determinism.labels(name).set(0)

    def forget_model(self, name: str) -> None:
        """Say that what was served under this name is not any more."""
        if name in self._shown_models:
            self._shown_models.pop(name).set(0)

    def record_refusal(self, problem: Problem) -> None:
        """Count a problem if it is one that refuses work unseen."""
        if isinstance(problem, QueueFull | ShuttingDown | DeadlineExceeded | RateLimited):
            self.rejected.labels(problem.code).inc()

    def answered(self, route: str, method: str, code: int, cache: str, model: str) -> tuple[Counter, Histogram]:
        """Where answers of one kind are counted and timed; ``model`` is the name of a served one, or empty."""
        known = method if method in METHODS else "other"
        return self.requests.labels(route, known, str(code)), self.duration.labels(route, cache, model)

    def record_encoding(self, name: str, seconds: float) -> None:
        """Count the encoding of an answer in the format of that name."""
        if name not in self._encoded:
            self._encoded[name] = self.encode.labels(name)
        self._encoded[name].observe(seconds)

    def exposition(self) -> tuple[bytes, str]:
        """The text that Prometheus reads, for all processes, and its media type."""
        registry = CollectorRegistry()
        if self._directory is None:
            registry.register(self.registry)
        else:
            MultiProcessCollector(registry, str(self._directory))  # type: ignore[no-untyped-call]
        for collector in self._collectors:
            registry.register(collector)
        return generate_latest(registry), CONTENT_TYPE_LATEST


def share_metrics(directory: Path, place: int) -> None:
    """Take over the files of the worker that had this place before: counters go on, gauges begin anew.

    So there are never more files than workers, however often one falls. To be called before any metric is made.
    """
    mark_process_dead(place, str(directory))  # type: ignore[no-untyped-call]
    values.ValueClass = values.MultiProcessValue(lambda: place)  # type: ignore[no-untyped-call]
