"""ArtSim: regenerate a data set of paintings, learn how similar a picture is to an artwork, serve that score."""

__version__ = "0.1.0"
