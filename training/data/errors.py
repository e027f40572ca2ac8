"""What can be wrong with a data set.

ValueError
└── DataError       a data set is unknown, not there, damaged or not asked for rightly
    └── MissingPart its files are missing here, or it has no such part
"""


class DataError(ValueError):
    """A data set cannot be had as asked; the message names the file or the value, and what would be right."""


class MissingPart(DataError):
    """The files of a part are not on this machine, or the data set has no such part; a damaged part is another error."""
