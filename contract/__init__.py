"""What training and serving must have in common; it needs only NumPy and the standard library."""

from contract.card import METADATA_KEY, Card, Golden, card_from_metadata, card_to_json, check_names, digest_latents
from contract.errors import CardError, ContractError, DrawError
from contract.latents import Categorical, Latent, Latents, Normal, Parameter, Uniform, parameters
from contract.outputs import Array, Image, Output, Points, Tokens
from contract.pictures import Inputs, Picture, picture_inputs, probe_inputs
from contract.runtime import Device, runtime_class
from contract.sampling import MAX_SEED, Drawn, Overrides, draw

__all__ = [
    "Array",
    "MAX_SEED",
    "METADATA_KEY",
    "Card",
    "CardError",
    "Categorical",
    "Device",
    "ContractError",
    "DrawError",
    "Drawn",
    "Overrides",
    "Golden",
    "Image",
    "Inputs",
    "Latent",
    "Latents",
    "Normal",
    "Output",
    "Parameter",
    "Picture",
    "Points",
    "Tokens",
    "Uniform",
    "card_from_metadata",
    "card_to_json",
    "check_names",
    "digest_latents",
    "draw",
    "parameters",
    "picture_inputs",
    "probe_inputs",
    "runtime_class",
]
