"""The errors of the contract."""


class ContractError(ValueError):
    """Something breaks the contract between training and serving."""


class CardError(ContractError):
    """The card is missing, incomplete or has an impossible value; the message names the key and the value."""


class DrawError(ContractError):
    """A seed or an override is out of range; the message names it and the right range."""
