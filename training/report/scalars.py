"""How the loop names its scalars: ``D/loss``, ``D/r1`` (a term of that loss), ``accuracy/real``, ``alarm/entropy``."""


def is_loss(name: str) -> bool:
    """Whether the scalar is the whole loss of a player."""
    return name.endswith("/loss")


def is_accuracy(name: str) -> bool:
    """Whether the scalar is a share that D tells rightly, 0..1."""
    return "accuracy" in name.split("/")


def loss_of(name: str) -> str:
    """The loss that a term would belong to: ``D/loss`` for ``D/r1``."""
    return f"{name.split('/')[0]}/loss"


def say_name(name: str) -> str:
    """What a legend calls the scalar: D for ``D/loss``, ``D r1`` for ``D/r1``, real for ``accuracy/real``."""
    return " ".join(part for part in name.split("/") if part not in ("loss", "accuracy"))
