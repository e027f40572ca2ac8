"""``/walk``, ``/mix`` and ``/arithmetic``: what lies between seeds, as a moving picture or as one sample."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

from contract import MAX_SEED, Array, Image
from serving.encoding.animations import ANIMATIONS, MAX_FPS, MAX_LOOP, Animation, AnimationFormat, there_and_back
from serving.encoding.formats import FORMATS, PNG_KEYWORD, Format, Sample
from serving.engine.registry import ModelEntry, Registry
from serving.errors import BadParameter, MissingParameter
from serving.generation.generate import Reply, RequestHeaders, SampleRequest, Service, encode_sample, entity_tag, fulfil
from serving.generation.limits import check_pixels, check_sides, check_size, is_slow
from serving.generation.negotiation import choose_format
from serving.generation.query import SampleQuery, fraction, given_values, integer, read_query
from serving.latents.arithmetic import VectorSum
from serving.latents.interpolation import Interpolation, frame_places
from serving.model.load import Model
from serving.settings import Settings

MIX = ("a", "b", "t", "format", "scale", "model")
"""Parameters of ``/mix`` for every model."""
ARITHMETIC = ("a", "b", "c", "format", "scale", "model")
"""Parameters of ``/arithmetic`` for every model."""
WALK = ("from", "to", "frames", "format", "fps", "loop", "back", "scale", "model")
"""Parameters of ``/walk`` for every model."""
ANIMATION = "animation"
"""What the animations' formats are filed under, beside the kinds of output."""
ROWS = ("npy", "json")
"""Formats of a walk for programs: its frames as rows."""
FRAMES, FPS = 24, 12
"""What a walk has unless it is said."""
SWITCH = {"on": True, "off": False}


@dataclass(frozen=True, kw_only=True)
class Walk:
    """What a query asks of ``/walk``, checked but for what depends on the format."""

    entry: ModelEntry
    from_seed: int
    to_seed: int
    frames: int
    fps: int = FPS
    loop: int = 0
    """How often it is played; 0 is for ever."""
    is_back: bool = False
    """Whether it goes back to the first seed."""
    scale: int = 1
    format: str | None = None
    overrides: Mapping[str, float] = field(default_factory=dict)

    def way(self) -> dict[str, object]:
        """Its rows, as a request names them."""
        return {"from": self.from_seed, "to": self.to_seed, "frames": self.frames}

    def playing(self) -> dict[str, object]:
        """How an animation of it is shown."""
        return {"fps": self.fps, "loop": self.loop, "back": "on" if self.is_back else "off", "scale": self.scale}

    @property
    def shown_frames(self) -> int:
        """Frames of an animation, those of the way back included."""
        return 2 * self.frames - 2 if self.is_back else self.frames


async def mix(service: Service, query: str, request_headers: RequestHeaders, digits: str | None = None) -> Reply:
    """Answer a request for one place between two seeds; at 0 and at 1 its rows are those of the seeds.

    Raises:
        Problem, ClientGone: as ``generate``.
    """
    return await _answer(service, "mix", *parse_mix(query, service.registry, service.settings), request_headers)


async def arithmetic(service: Service, query: str, request_headers: RequestHeaders, digits: str | None = None) -> Reply:
    """Answer a request for ``a - b + c`` of three seeds; where two of them cancel its row is that of the third.

    Raises:
        Problem, ClientGone: as ``generate``.
    """
    return await _answer(service, "arithmetic", *parse_arithmetic(query, service.registry, service.settings), request_headers)


async def _answer(
    service: Service, route: str, wanted: SampleQuery, source: Interpolation | VectorSum, request_headers: RequestHeaders
) -> Reply:
    """The one sample of a place or a sum."""
    kind = wanted.model.card.output.kind
    media_types = {name: media_type for name, media_type in service.media_types[kind].items() if name != "tar"}
    name = choose_format(media_types, wanted.format, request_headers.accept)
    form = FORMATS[kind][name]
    pixels = check_size(wanted, name, form, service.settings)
    etag = entity_tag(
        wanted.model, service.fingerprints[kind, name], name, wanted.overrides, route, tuple(source), wanted.scale
    )
    return await fulfil(
        service,
        SampleRequest(
            entry=wanted.entry,
            sources=[source],
            overrides=wanted.overrides,
            format=name,
            media_type=form.media_type,
            encode=partial(encode_sample, form, wanted, source),
            is_slow=is_slow(form, pixels),
            etag=etag,
        ),
        request_headers,
    )


def parse_mix(query: str, models: Registry, settings: Settings) -> tuple[SampleQuery, Interpolation]:
    """What a raw query string asks of ``/mix``.

    Raises:
        BadQuery, UnknownParameter, RepeatedParameter, MissingParameter, BadParameter: naming the wrong value and the right one.
    """
    values, entry = read_query(query, models, MIX)
    t = fraction(values, "t")
    place = Interpolation(_seed(values, "a"), _seed(values, "b"), 0.5 if t is None else t)
    return _single(values, entry, MIX, settings), place


def parse_arithmetic(query: str, models: Registry, settings: Settings) -> tuple[SampleQuery, VectorSum]:
    """What a raw query string asks of ``/arithmetic``.

    Raises:
        BadQuery, UnknownParameter, RepeatedParameter, MissingParameter, BadParameter: naming the wrong value and the right one.
    """
    values, entry = read_query(query, models, ARITHMETIC)
    seeds = VectorSum(_seed(values, "a"), _seed(values, "b"), _seed(values, "c"))
    return _single(values, entry, ARITHMETIC, settings), seeds


def _single(values: Mapping[str, str], entry: ModelEntry, names: Sequence[str], settings: Settings) -> SampleQuery:
    """What is wanted of one row; ``names`` are the route's parameters."""
    return SampleQuery(
        entry=entry,
        scale=integer(values, "scale", 1, settings.max_scale) or 1,
        format=values.get("format"),
        overrides=given_values(values, entry.model, names),
    )


async def walk(service: Service, query: str, request_headers: RequestHeaders, digits: str | None = None) -> Reply:
    """Answer a request for the way from one seed to another; its first and last row are those of the seeds.

    Raises:
        Problem, ClientGone: as ``generate``.
    """
    wanted = parse_walk(query, service.registry, service.settings)
    model = wanted.entry.model
    forms = walk_formats(model)
    name = choose_format({name: form.media_type for name, form in forms.items()}, wanted.format, request_headers.accept)
    form = forms[name]
    _check_walk(wanted, name, form, service.settings)
    is_moving = isinstance(form, AnimationFormat)
    encoder = service.fingerprints[ANIMATION if is_moving else model.card.output.kind, name]
    which = [*wanted.way().values(), *wanted.playing().values()]
    return await fulfil(
        service,
        SampleRequest(
            entry=wanted.entry,
            sources=[Interpolation(wanted.from_seed, wanted.to_seed, t) for t in frame_places(wanted.frames)],
            overrides=wanted.overrides,
            format=name,
            media_type=form.media_type,
            encode=partial(_encode_walk, form, wanted),
            is_slow=is_moving,
            etag=entity_tag(model, encoder, name, wanted.overrides, "walk", *which),
        ),
        request_headers,
    )


def parse_walk(query: str, models: Registry, settings: Settings) -> Walk:
    """What a raw query string asks of ``/walk``.

    Raises:
        BadQuery, UnknownParameter, RepeatedParameter, MissingParameter, BadParameter: naming the wrong value and the right one.
    """
    values, entry = read_query(query, models, WALK)
    if values.get("back", "off") not in SWITCH:
        raise BadParameter("back", values["back"], "one of on, off")
    return Walk(
        entry=entry,
        from_seed=_seed(values, "from"),
        to_seed=_seed(values, "to"),
        frames=integer(values, "frames", 2, settings.max_frames) or min(FRAMES, settings.max_frames),
        fps=integer(values, "fps", 1, MAX_FPS) or FPS,
        loop=integer(values, "loop", 0, MAX_LOOP) or 0,
        is_back=SWITCH[values.get("back", "off")],
        scale=integer(values, "scale", 1, settings.max_scale) or 1,
        format=values.get("format"),
        overrides=given_values(values, entry.model, WALK),
    )


def walk_formats(model: Model) -> dict[str, AnimationFormat | Format]:
    """The formats of a model's walks by name, the default one first: images move, and all can be had as rows."""
    kind = model.card.output.kind
    moving = ANIMATIONS if kind == Image.kind else {}
    return {**moving, **{name: form for name, form in FORMATS[kind].items() if name in ROWS}}


def _seed(values: Mapping[str, str], name: str) -> int:
    seed = integer(values, name, 0, MAX_SEED)
    if seed is None:
        raise MissingParameter(name, f"a seed 0..{MAX_SEED}")
    return seed


def _check_walk(wanted: Walk, name: str, form: AnimationFormat | Format, settings: Settings) -> None:
    output = wanted.entry.model.card.output
    if not isinstance(form, AnimationFormat):
        plain = Walk(entry=wanted.entry, from_seed=0, to_seed=0, frames=2).playing()
        for parameter, value in wanted.playing().items():
            if value != plain[parameter]:
                raise BadParameter(parameter, str(value), f"{plain[parameter]} for {name}; it does not move")
    if isinstance(output, Image):
        blame, value = ("scale", wanted.scale) if wanted.scale > 1 else ("frames", wanted.frames)
        sides = output.height * wanted.scale, output.width * wanted.scale
        check_pixels(blame, value, wanted.shown_frames * sides[0] * sides[1], settings)
        check_sides(blame, value, sides, name, form)


def _encode_walk(form: AnimationFormat | Format, wanted: Walk, rows: Array) -> bytes:
    model = wanted.entry.model
    if isinstance(form, AnimationFormat):
        frames = there_and_back(rows) if wanted.is_back else rows
        origin = {
            "model": model.card.name,
            "digest": model.digest,
            "runtime": model.runtime,
            **wanted.way(),
            **wanted.playing(),
            "parameters": dict(wanted.overrides),
        }
        texts = {PNG_KEYWORD: json.dumps(origin)}
        return form.encode(Animation(frames=frames, fps=wanted.fps, loop=wanted.loop, scale=wanted.scale, texts=texts))
    return form.encode(
        Sample(
            output=model.card.output,
            rows=rows,
            model=model.card.name,
            digest=model.digest,
            runtime=model.runtime,
            seed=0,
            overrides=wanted.overrides,
            way=wanted.way(),
        )
    )
