"""The routes for samples as OpenAPI has them: ``/generate``, a digest's address, ``/walk``, ``/mix`` and ``/arithmetic``."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from contract import MAX_SEED
from serving.encoding.animations import MAX_FPS, MAX_LOOP
from serving.encoding.formats import FORMATS
from serving.engine.registry import MIN_DIGITS
from serving.errors import (
    BadParameter,
    BadQuery,
    DeadlineExceeded,
    Gone,
    MissingParameter,
    NonFinite,
    NotAcceptable,
    NotFound,
    QueueFull,
    RateLimited,
    RepeatedParameter,
    ShuttingDown,
    UnknownParameter,
)
from serving.generation.generate import MILLISECONDS, Service
from serving.generation.interpolate import ARITHMETIC, FPS, FRAMES, MIX, SWITCH, WALK, walk_formats
from serving.generation.query import GENERATE, NUMBER
from serving.model.load import Model
from serving.openapi.operations import Operation, answer, parameter
from serving.openapi.schemas import TEXT, Schema, integer, parameter_value, ref, sample_of
from serving.settings import Settings

JSON = "application/json"
WAY = ("ETag", "Cache-Control", "Vary", "X-Model-Digest", "X-Content-Type-Options", "Server-Timing")
SAMPLE = ("X-Seed", *WAY)
PROBLEMS = (
    BadQuery,
    UnknownParameter,
    RepeatedParameter,
    BadParameter,
    NotAcceptable,
    NonFinite,
    QueueFull,
    ShuttingDown,
    DeadlineExceeded,
    RateLimited,
)

TIMEOUT = parameter(
    "X-Request-Timeout-Ms",
    "header",
    integer(1, 999_999_999, **{"x-text-pattern": f"^(?:{MILLISECONDS.pattern})$"}),
    "How long the client waits; the service's own deadline is the longest.",
)
IF_NONE_MATCH = parameter("If-None-Match", "header", TEXT, "Entity tags; one that matches is answered 304.")

REQUIRED = frozenset({"from", "to", "a", "b", "c"})
Formats = Mapping[str, str]
"""Media types by format name."""


def models_of(service: Service) -> list[Model]:
    """The models that are served, the default one first."""
    return [entry.model for entry in service.registry.values()]


def names(models: Iterable[Model]) -> Schema:
    """A model's name."""
    return {"enum": [model.card.name for model in models]}


def any_sample(service: Service) -> Operation:
    """Samples of whichever model the query names."""
    return _samples(service, models_of(service), GENERATE, sample_formats, ref("schemas", "Sample"))


def addressed(service: Service, model: Model | None = None) -> Operation:
    """Samples at the address of a digest: of this model, or of any."""
    models = models_of(service) if model is None else [model]
    digits: Schema = {"type": "string", "pattern": f"^[0-9a-f]{{{MIN_DIGITS},64}}$"}
    path = {"digest": {**digits, "examples": [each.digest for each in models]}} if model is None else {}
    schema = ref("schemas", "Sample") if model is None else sample_of(model)
    own = [name for name in GENERATE if name != "model"]
    return _samples(service, models, own, sample_formats, schema, problems=(*PROBLEMS, NotFound, Gone), path=path)


def walk(service: Service) -> Operation:
    """Ways between two seeds."""
    return _samples(
        service, models_of(service), WALK, way_formats, ref("schemas", "Walk"), WAY, problems=(*PROBLEMS, MissingParameter)
    )


def mix(service: Service) -> Operation:
    """Places between two seeds."""
    return _samples(
        service, models_of(service), MIX, mix_formats, ref("schemas", "Mix"), WAY, problems=(*PROBLEMS, MissingParameter)
    )


def arithmetic(service: Service) -> Operation:
    """Sums of three seeds."""
    return _samples(
        service, models_of(service), ARITHMETIC, mix_formats, ref("schemas", "Sum"), WAY, problems=(*PROBLEMS, MissingParameter)
    )


def sample_formats(model: Model) -> Formats:
    """In what a model's samples can be had."""
    return {name: form.media_type for name, form in FORMATS[model.card.output.kind].items()}


def mix_formats(model: Model) -> Formats:
    """In what one place between two seeds, or one sum of three, can be had."""
    return {name: media_type for name, media_type in sample_formats(model).items() if name != "tar"}


def way_formats(model: Model) -> Formats:
    """In what a walk can be had."""
    return {name: form.media_type for name, form in walk_formats(model).items()}


def _samples(
    service: Service,
    models: list[Model],
    own: Sequence[str],
    formats_of: Callable[[Model], Formats],
    schema: Schema,
    told: Sequence[str] = SAMPLE,
    **rest: Any,
) -> Operation:
    """A route for samples, with its own parameters and with the parameters and the formats of these models."""
    formats = {name: media_type for model in models for name, media_type in formats_of(model).items()}
    content = {media_type: {"schema": schema} if media_type == JSON else {} for media_type in formats.values()}
    about = route_parameters(service.settings, models, list(formats))
    return Operation(
        tag="samples",
        answers={
            "200": answer("The sample, in the format that was asked for or that `Accept` prefers.", content, *told),
            "304": answer("`If-None-Match` names what would be answered.", None, *told),
        },
        parameters=[
            *(parameter(name, "query", *about[name], required=name in REQUIRED) for name in own),
            *(more for more in model_parameters(models) if more["name"] not in own),
            IF_NONE_MATCH,
            TIMEOUT,
        ],
        **{"problems": PROBLEMS, **rest},
    )


def route_parameters(settings: Settings, models: list[Model], formats: list[str]) -> dict[str, tuple[Schema, str]]:
    """What the routes themselves can be asked for: by name, schema and what it is."""
    most = max(settings.max_images, settings.max_bulk)
    seed = integer(0, MAX_SEED)
    place = {"type": "number", "minimum": 0, "maximum": 1, "default": 0.5, "x-text-pattern": f"^(?:{NUMBER.pattern})$"}
    bulk = f"So many samples, of this seed and the following ones; more than {settings.max_images} as `npy` or `tar` only."
    return {
        "seed": (seed, "What the sample follows from; without it a random one, told in `X-Seed`."),
        "n": (integer(1, most, default=1), bulk),
        "format": ({"enum": formats}, "Instead of what `Accept` prefers."),
        "scale": (integer(1, settings.max_scale, default=1), "Each pixel so many wide and high; pictures only."),
        "cols": (
            integer(1, settings.max_images),
            "Images side by side in a sheet, `n` at most; else its root, rounded up.",
        ),
        "model": ({**names(models), "default": models[0].card.name}, "Which model."),
        "from": (seed, "The first seed."),
        "to": (seed, "The last seed."),
        "a": (seed, "The seed at 0; the first that is added."),
        "b": (seed, "The seed at 1; the one that is taken away."),
        "c": (seed, "The other one that is added."),
        "t": (place, "The place on the way from `a` to `b`."),
        "frames": (integer(2, settings.max_frames, default=min(FRAMES, settings.max_frames)), "Both ends included."),
        "fps": (integer(1, MAX_FPS, default=FPS), "Frames a second."),
        "loop": (integer(0, MAX_LOOP, default=0), "How often it is played; 0 is for ever."),
        "back": ({"enum": list(SWITCH), "default": "off"}, "Whether it goes back to the first seed."),
    }


def model_parameters(models: list[Model]) -> list[Schema]:
    """The parameters that the models' latents give; one that several models have may mean another range in each."""
    found: dict[str, dict[str, Schema]] = {}
    for model in models:
        for name, declared in model.parameters.items():
            found.setdefault(name, {})[model.card.name] = parameter_value(declared)
    about = "Follows the seed unless given. Of: {}."
    return [
        parameter(name, "query", _either(list(by_model.values())), about.format(", ".join(by_model)))
        for name, by_model in found.items()
    ]


def _either(schemas: list[Schema]) -> Schema:
    different = [schema for place, schema in enumerate(schemas) if schema not in schemas[:place]]
    return different[0] if len(different) == 1 else {"anyOf": different}
