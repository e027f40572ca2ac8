"""What can be wrong with a data set."""


class DataError(ValueError):
    """A data set cannot be had as asked; the message names the file or the value, and what would be right."""


class MissingPart(DataError):
    """The files of a part are not on this machine, or the data set has no such part; a damaged part is another error."""
