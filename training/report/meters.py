"""What Prometheus reads of a run while it lasts: the recorder's latest numbers, on a page of their own."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from prometheus_client import CollectorRegistry, ProcessCollector, start_http_server
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from training.errors import TrainingError
from training.report.scalars import is_accuracy, is_loss, say_name

MetricsSink = Callable[[int, int, Mapping[str, float], float | None], None]
"""Called for each recorded step: step, images seen so far, its scalars, images a second or None where unknown."""

KID, COLLAPSE = "score/kid", "alarm/collapse"
"""Scalars that are recorded at each evaluation only, and stand until the next one."""


def null_sink(step: int, images: int, scalars: Mapping[str, float], images_per_s: float | None) -> None:
    """Discard the record."""


class PrometheusMetrics(Collector):
    """The latest numbers of one run.

    Args:
        run: the run directory, whose newest checkpoint's age is exported.
        steps: at which the run ends.
        clock: seconds since the epoch.
    """

    def __init__(self, run: Path, steps: int, *, clock: Callable[[], float] = time.time) -> None:
        self._run, self._steps, self._clock = run, steps, clock
        self._step, self._images = 0, 0
        self._images_per_s: float | None = None
        self._scalars: dict[str, float] = {}
        self._logged_s = clock()

    def watch(self, step: int, images: int, scalars: Mapping[str, float], images_per_s: float | None) -> None:
        """Take over what was recorded; a scalar that is not given keeps its last value."""
        self._step, self._images = step, images
        self._images_per_s = self._images_per_s if images_per_s is None else images_per_s
        self._scalars = {**self._scalars, **scalars}
        self._logged_s = self._clock()

    def describe(self) -> list[Metric]:
        """Every family that there may be, so that a registry knows their names unasked."""
        return [*self._certain(), *self._possible(0.0, 0.0, 0.0, 0.0), *_families({})]

    def collect(self) -> Iterator[Metric]:
        """What is known now."""
        yield from self._certain()
        known = self._scalars
        yield from self._possible(self._images_per_s, known.get(KID), known.get(COLLAPSE), _newest_checkpoint_s(self._run))
        yield from (family for family in _families(known) if family.samples)

    def _certain(self) -> list[Metric]:
        return [
            GaugeMetricFamily("gan_training_step", "The last step that was recorded.", self._step),
            GaugeMetricFamily("gan_training_planned_steps", "The step at which the run ends.", self._steps),
            CounterMetricFamily("gan_training_images", "Real images that the run has seen.", self._images),
            GaugeMetricFamily(
                "gan_training_logged_timestamp_seconds", "When a step was last recorded, or the job began.", self._logged_s
            ),
        ]

    def _possible(
        self, images_per_s: float | None, kid: float | None, collapse: float | None, saved_s: float | None
    ) -> list[Metric]:
        found = [
            ("gan_training_images_per_second", "Real images a second since the previous record.", images_per_s),
            ("gan_training_kid", "Kernel inception distance of 1,000 samples at the last evaluation.", kid),
            ("gan_training_collapse", "1 if the samples had collapsed at the last evaluation.", collapse),
            ("gan_training_checkpoint_timestamp_seconds", "When the newest checkpoint was written.", saved_s),
        ]
        return [GaugeMetricFamily(name, about, value) for name, about, value in found if value is not None]


def _families(scalars: Mapping[str, float]) -> list[Metric]:
    """Every recorded scalar, in one of three families."""
    losses = GaugeMetricFamily("gan_training_loss", "Mean loss of a player since the previous record.", labels=["player"])
    accuracies = GaugeMetricFamily("gan_training_accuracy", "Share of samples that D classifies correctly.", labels=["of"])
    rest = GaugeMetricFamily("gan_training_scalar", "Any other recorded number.", labels=["name"])
    for name, value in scalars.items():
        family = losses if is_loss(name) else accuracies if is_accuracy(name) else rest
        if name not in (KID, COLLAPSE):
            family.add_metric([name if family is rest else say_name(name)], value)
    return [losses, accuracies, rest]


def _newest_checkpoint_s(run: Path) -> float | None:
    """When it was written, in seconds since the epoch; None while there is none."""
    times = []
    for path in run.glob("checkpoint-*.pt"):
        try:
            times.append(path.stat().st_mtime)
        except FileNotFoundError:  # an old one was dropped between the two looks
            continue
    return max(times, default=None)


@contextmanager
def serve_metrics(
    meters: PrometheusMetrics, address: str, port: int, say: Callable[[str], None] = lambda text: None
) -> Iterator[MetricsSink]:
    """Show the numbers, and those of this process, at http://ADDRESS:PORT/metrics; gives the sink to call for each record.

    For port 0 the system chooses one, and ``say`` prints it.

    Raises:
        TrainingError: the address cannot be listened on.
    """
    registry = CollectorRegistry()
    registry.register(meters)
    ProcessCollector(registry=registry)
    try:
        server, thread = start_http_server(port, address, registry)
    except (OSError, OverflowError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise TrainingError(f"--metrics-port {port}: cannot listen on {address}:{port}: {reason}") from None
    if port == 0:
        say(f"metrics at http://{address}:{server.server_port}/metrics")
    try:
        yield meters.watch
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
