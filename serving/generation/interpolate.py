"""``/walk``, ``/mix`` and ``/arithmetic``: interpolations and sums of seeds, as an animation or as one sample."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import partial

from contract import Array, Image
from serving.encoding.animations import ANIMATIONS, Animation, AnimationFormat, there_and_back
from serving.encoding.formats import FORMATS, PNG_KEYWORD, Format
from serving.engine.registry import ModelEntry, Registry
from serving.engine.samples import sample_of
from serving.errors import BadParameter
from serving.generation.encoding import encode_sample
from serving.generation.generate import Reply, RequestHeaders, SampleRequest, Service, fulfil
from serving.generation.limits import check_pixels, check_sides, check_size, check_smallest, is_slow
from serving.generation.negotiation import choose_format, entity_tag
from serving.generation.parameters import ARITHMETIC, MIX, WALK, Route
from serving.generation.query import SampleQuery, read_overrides, read_query
from serving.latents.arithmetic import VectorSum
from serving.latents.interpolation import Interpolation, frame_positions
from serving.model.load import ModelFacts
from serving.settings import Settings

ANIMATION = "animation"
"""The kind under which fingerprints of the animations' encoders are found."""
ROWS = ("npy", "json")
"""Formats of a walk for programs: its frames as rows."""


@dataclass(frozen=True, kw_only=True)
class Walk:
    """What a query of ``/walk`` asks for, checked except for what depends on the format."""

    entry: ModelEntry
    from_seed: int
    to_seed: int
    frames: int
    fps: int
    loop: int
    """How often it is played; 0 means without end."""
    is_back: bool
    """Whether it goes back to the first seed."""
    scale: int
    format: str | None = None
    overrides: Mapping[str, float] = field(default_factory=dict)

    def row_parameters(self) -> dict[str, object]:
        """Return the parameters that determine its rows."""
        return {"from": self.from_seed, "to": self.to_seed, "frames": self.frames}

    def animation_parameters(self) -> dict[str, object]:
        """Return the parameters that only an animation has."""
        return {"fps": self.fps, "loop": self.loop, "back": "on" if self.is_back else "off", "scale": self.scale}

    @property
    def shown_frames(self) -> int:
        """Number of frames of the animation, those of the way back included."""
        return 2 * self.frames - 2 if self.is_back else self.frames


async def mix(service: Service, query_string: str, request_headers: RequestHeaders, digits: str | None = None) -> Reply:
    """Answer ``/mix``: the sample at ``t`` between two seeds; at 0 and at 1 it is that of a seed.

    Raises:
        Problem, ClientDisconnected: as ``generate``.
    """
    return await _answer(service, "mix", *parse_mix(query_string, service.registry, service.settings), request_headers)


async def arithmetic(service: Service, query_string: str, request_headers: RequestHeaders, digits: str | None = None) -> Reply:
    """Answer ``/arithmetic``: the sample of ``a - b + c``; where two seeds cancel, that of the third.

    Raises:
        Problem, ClientDisconnected: as ``generate``.
    """
    return await _answer(
        service, "arithmetic", *parse_arithmetic(query_string, service.registry, service.settings), request_headers
    )


async def _answer(
    service: Service, route: str, query: SampleQuery, source: Interpolation | VectorSum, request_headers: RequestHeaders
) -> Reply:
    """Answer with the one sample of an interpolation or a sum."""
    request_headers.name_model(query.entry)
    kind = query.model.card.output.kind
    forms = single_formats(query.model)
    name = choose_format({name: form.media_type for name, form in forms.items()}, query.format, request_headers.accept)
    form = forms[name]
    pixels = check_size(query, name, form, service.settings)
    etag = entity_tag(query.model, service.fingerprints[kind, name], name, query.overrides, route, tuple(source), query.scale)
    return await fulfil(
        service,
        SampleRequest(
            entry=query.entry,
            sources=[source],
            overrides=query.overrides,
            format=name,
            media_type=form.media_type,
            encode=partial(encode_sample, form, query, source),
            is_slow=is_slow(form, pixels),
            etag=etag,
        ),
        request_headers,
    )


def parse_mix(query_string: str, models: Registry, settings: Settings) -> tuple[SampleQuery, Interpolation]:
    """Parse a query string of ``/mix``.

    Raises:
        BadQuery, UnknownParameter, RepeatedParameter, MissingParameter, BadParameter: naming the wrong value and the right one.
    """
    values, entry = read_query(query_string, models, MIX)
    t = MIX["t"].read(values, settings)
    interpolation = Interpolation(MIX["a"].read(values, settings), MIX["b"].read(values, settings), t)
    return _single(values, entry, MIX, settings), interpolation


def parse_arithmetic(query_string: str, models: Registry, settings: Settings) -> tuple[SampleQuery, VectorSum]:
    """Parse a query string of ``/arithmetic``.

    Raises:
        BadQuery, UnknownParameter, RepeatedParameter, MissingParameter, BadParameter: naming the wrong value and the right one.
    """
    values, entry = read_query(query_string, models, ARITHMETIC)
    seeds = VectorSum(*(ARITHMETIC[name].read(values, settings) for name in "abc"))
    return _single(values, entry, ARITHMETIC, settings), seeds


def _single(values: Mapping[str, str], entry: ModelEntry, route: Route, settings: Settings) -> SampleQuery:
    """Return the query for one row."""
    return SampleQuery(
        entry=entry,
        scale=route["scale"].read(values, settings),
        format=route["format"].read(values, settings),
        overrides=read_overrides(values, entry.model, route, settings),
    )


async def walk(service: Service, query_string: str, request_headers: RequestHeaders, digits: str | None = None) -> Reply:
    """Answer ``/walk``: samples from one seed to another; the first and the last are those of the seeds.

    Raises:
        Problem, ClientDisconnected: as ``generate``.
    """
    query = parse_walk(query_string, service.registry, service.settings)
    request_headers.name_model(query.entry)
    model = query.entry.model
    forms = walk_formats(model)
    name = choose_format({name: form.media_type for name, form in forms.items()}, query.format, request_headers.accept)
    form = forms[name]
    _check_walk(query, name, form, service.settings)
    is_moving = isinstance(form, AnimationFormat)
    encoder = service.fingerprints[ANIMATION if is_moving else model.card.output.kind, name]
    parameters = [*query.row_parameters().values(), *query.animation_parameters().values()]
    return await fulfil(
        service,
        SampleRequest(
            entry=query.entry,
            sources=[Interpolation(query.from_seed, query.to_seed, t) for t in frame_positions(query.frames)],
            overrides=query.overrides,
            format=name,
            media_type=form.media_type,
            encode=partial(_encode_walk, form, query),
            is_slow=is_moving,
            etag=entity_tag(model, encoder, name, query.overrides, "walk", *parameters),
        ),
        request_headers,
    )


def parse_walk(query_string: str, models: Registry, settings: Settings) -> Walk:
    """Parse a query string of ``/walk``.

    Raises:
        BadQuery, UnknownParameter, RepeatedParameter, MissingParameter, BadParameter: naming the wrong value and the right one.
    """
    values, entry = read_query(query_string, models, WALK)
    back = WALK["back"].read(values, settings)
    return Walk(
        entry=entry,
        from_seed=WALK["from"].read(values, settings),
        to_seed=WALK["to"].read(values, settings),
        frames=WALK["frames"].read(values, settings),
        fps=WALK["fps"].read(values, settings),
        loop=WALK["loop"].read(values, settings),
        is_back=back == "on",
        scale=WALK["scale"].read(values, settings),
        format=WALK["format"].read(values, settings),
        overrides=read_overrides(values, entry.model, WALK, settings),
    )


def single_formats(model: ModelFacts) -> dict[str, Format]:
    """Return the formats of one sample by name, the default one first; an archive of one file is none."""
    return {name: form for name, form in FORMATS[model.card.output.kind].items() if name != "tar"}


def walk_formats(model: ModelFacts) -> dict[str, AnimationFormat | Format]:
    """Return the formats of a model's walks by name, the default one first: animations of images, and rows of any output."""
    kind = model.card.output.kind
    animations = ANIMATIONS if kind == Image.kind else {}
    return {**animations, **{name: form for name, form in FORMATS[kind].items() if name in ROWS}}


def _check_walk(query: Walk, name: str, form: AnimationFormat | Format, settings: Settings) -> None:
    output = query.entry.model.card.output
    if not isinstance(form, AnimationFormat):
        if query.scale != 1:
            raise BadParameter("scale", str(query.scale), f"1 for {name}; pictures only can be enlarged")
        for parameter, value in query.animation_parameters().items():
            if value != WALK[parameter].default:
                raise BadParameter(parameter, str(value), f"{WALK[parameter].default} for {name}; it does not move")
    if isinstance(output, Image):
        parameter, value = ("scale", query.scale) if query.scale > 1 else ("frames", query.frames)
        sides = output.height * query.scale, output.width * query.scale
        check_smallest(query.entry.model, name, 2 * output.height * output.width, settings)
        check_pixels(parameter, value, query.shown_frames * sides[0] * sides[1], settings)
        check_sides(parameter, value, sides, name, form)


def _encode_walk(form: AnimationFormat | Format, query: Walk, rows: Array) -> bytes:
    model = query.entry.model
    if isinstance(form, AnimationFormat):
        frames = there_and_back(rows) if query.is_back else rows
        origin = {
            "model": model.card.name,
            "digest": model.digest,
            "runtime": model.runtime,
            **query.row_parameters(),
            **query.animation_parameters(),
            "parameters": dict(query.overrides),
        }
        texts = {PNG_KEYWORD: json.dumps(origin)}
        return form.encode(Animation(frames=frames, fps=query.fps, loop=query.loop, scale=query.scale, texts=texts))
    return form.encode(replace(sample_of(model, rows, 0, query.overrides), way=query.row_parameters()))
