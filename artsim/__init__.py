"""ArtSim: regenerate a data set of paintings, learn how similar a picture is to an artwork, serve that score."""

__version__ = "0.1.0"


class UserError(Exception):
    """What a person can mend; the message is one sentence that says what was found and what to do."""
