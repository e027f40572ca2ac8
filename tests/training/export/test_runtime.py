"""Training and serving open a model in the same way."""

from __future__ import annotations

from typing import Any

from serving.model.runtime import PROBE, open_session
from training.export.runtime import open_session as open_for_goldens


def options_of(session: Any) -> dict[str, Any]:
    options = session.get_session_options()
    names = [name for name in dir(options) if not name.startswith("_") and not callable(getattr(options, name))]
    spinning = options.get_session_config_entry("session.intra_op.allow_spinning")
    return {**{name: getattr(options, name) for name in names}, "spinning": spinning, "providers": session.get_providers()}


def test_goldens_are_computed_under_the_options_that_check_them() -> None:
    """A session of the exporter and one of the service have equal options and providers."""
    ours = options_of(open_for_goldens(PROBE))
    assert ours == options_of(open_session(PROBE, "cpu", 1))
    assert (ours["intra_op_num_threads"], ours["spinning"]) == (1, "0")
