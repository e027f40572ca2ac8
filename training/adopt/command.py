"""``python -m training adopt``: make a model file of a generator that was trained elsewhere."""

from __future__ import annotations

import sys
from contextlib import redirect_stdout
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

import tyro
from rich.console import Console

from contract import Card, CardError, Image, check_names
from contract.latents import classes_of
from training.adopt.graph import adopt_graph
from training.adopt.inputs import Input, latents_of, parse_inputs
from training.adopt.memory import lacks_memory
from training.adopt.module import export_net, sampler_of_net
from training.adopt.pictures import Layout, PictureFormat, Range
from training.adopt.weights import freeze, import_net, load_weights
from training.errors import AdoptError, first_line
from training.export.to_onnx import package_versions, write_model
from training.files import is_stream

NO_OUTPUT = Image(1, 1, 1)
"""Stands in a card until the generator has been run."""


@dataclass(frozen=True, kw_only=True)
class Adopt:
    """Make a model file of a generator trained elsewhere: a PyTorch module, or an ONNX graph. See docs/ADOPT.md.

    Latents are declared in the generator's order, for example z=normal:512, psi=uniform:1:0.5:1, y=categorical:10 or
    y=onehot:10. The generator gets z=normal:100x1x1 as [n,100,1,1]. A trailing @INPUT names the input that takes the latent.
    """

    source: tyro.conf.Positional[str]
    """package.module:callable that returns the module, looked up in the current folder first; or an .onnx file."""
    latent: Annotated[tuple[str, ...], tyro.conf.UseAppendAction] = ()
    """One latent; repeat the option for each."""
    output: Range
    """Range of the generator's values: [-1,1] (tanh), [0,1] (unit) or 0..255 (uint8)."""
    name: str
    """Name of the model in requests."""
    licence: str
    """Licence of the training data, which the samples may carry."""
    layout: Layout = "nchw"
    """Order of the axes of the generator's output."""
    weights: Path | None = None
    """File of torch.save with the weights; by default the module stays as the callable returns it."""
    key: str | None = None
    """Name of the state dict inside the file; by default the file is one."""
    strip: str = ""
    """Prefix to cut from the names of the weights; weights without it are left out."""
    clamp: bool = False
    """Clip values outside the range instead of refusing them."""
    classes: tuple[str, ...] = ()
    """Names of the values of the latent y."""
    data: str = "unknown"
    """Name of the training data."""
    paper: str = ""
    """Publication that describes the generator."""
    out: Path = Path("model.onnx")
    """Model file to write."""

    def __call__(self, console: Console) -> int:
        try:
            with redirect_stdout(sys.stderr):  # what the generator's own code prints is no part of a model in /dev/stdout
                card, doubt = self._adopt()
        except Exception as error:
            if not lacks_memory(error):
                raise
            raise AdoptError(f"not enough memory to run the generator ({first_line(error)})") from error
        if is_stream(self.out):  # what is printed would stand in the model
            return 0
        if doubt:
            console.print(f"note: {doubt}", markup=False, highlight=False)
        assert isinstance(card.output, Image)
        pictures = f"{card.output.width}x{card.output.height} {'grey' if card.output.channels == 1 else 'RGB'}"
        size = f"{self.out.stat().st_size:,} bytes"
        latents = ", ".join(card.latents)
        console.print(f"adopted {self.out}, {size}: {card.name} makes {pictures} pictures of {latents}", markup=False)
        return 0

    def _adopt(self) -> tuple[Card, str | None]:
        """Write the model file; returns its card, and a doubt about the range of the values."""
        inputs = parse_inputs(self.latent)
        form = PictureFormat(values=self.output, layout=self.layout, is_clamped=self.clamp)
        card = self._card(inputs)
        self._check_out()
        self.out.parent.mkdir(parents=True, exist_ok=True)
        if self.source.endswith(".onnx"):
            return self._adopt_graph(inputs, form, card)
        return self._adopt_net(inputs, form, card)

    def _check_out(self) -> None:
        """Check that the model file would be a file, and would not replace one that it is made of; raises AdoptError."""
        if self.out.is_dir():
            raise AdoptError(f"--out must name a file, and {self.out} is a folder")
        sources = [Path(self.source), *([self.weights] if self.weights else [])]
        if any(path.exists() and self.out.exists() and path.samefile(self.out) for path in sources):
            raise AdoptError(f"--out {self.out} is the generator's own file, which would be replaced: name another one")

    def _card(self, inputs: tuple[Input, ...]) -> Card:
        """The card without output and goldens."""
        for name, value in (("licence", self.licence), ("data", self.data)):
            if not value.strip():
                raise AdoptError(f"--{name} must not be empty: it stands on the card; `unknown` is a value, too")
        card = Card(
            name=self.name,
            recipe="adopted",
            paper=self.paper,
            latents=latents_of(inputs),
            output=NO_OUTPUT,
            classes=self.classes,
            data=self.data,
            data_licence=self.licence,
            steps=0,
            images=0,
            versions=package_versions(),
            runtime="",
        )
        values = classes_of(card.latents)
        if self.classes and len(self.classes) != values:
            right = f"the {values} values of the latent y" if values else "the values of a latent y, which is not declared"
            raise AdoptError(f"--classes must name {right}, got {len(self.classes)}")
        try:
            check_names(card)
        except CardError as error:
            raise AdoptError(str(error)) from None
        return card

    def _adopt_net(self, inputs: tuple[Input, ...], form: PictureFormat, card: Card) -> tuple[Card, str | None]:
        net = import_net(self.source, Path.cwd())
        if self.weights:
            load_weights(net, self.weights, key=self.key, strip=self.strip)
        sampler, card, doubt = sampler_of_net(freeze(net), inputs, form, card)
        export_net(sampler, card, self.out)
        return card, doubt

    def _adopt_graph(self, inputs: tuple[Input, ...], form: PictureFormat, card: Card) -> tuple[Card, str | None]:
        if self.weights or self.key or self.strip:
            raise AdoptError("--weights, --key and --strip are for PyTorch modules: an ONNX file holds its weights")
        model, image, doubt = adopt_graph(Path(self.source), inputs, form)
        card = replace(card, output=image)
        write_model(model, card, self.out)
        return card, doubt
