"""What can be wrong with a data set.

ValueError
└── DataError       a data set is unknown, not there, damaged or not asked for rightly
"""


class DataError(ValueError):
    """A data set cannot be had as asked; the message names the file or the value, and what would be right."""
