"""Tiny checkpoints of SDXL's refiner and its autoencoder, made on the spot in a second."""

from pathlib import Path

from artsim.random_refiner import random_refiner, random_vae


def tiny_refiner(folder: Path) -> Path:
    """A refiner pipeline of a few hundred thousand weights, with an AutoencoderKL of its own."""
    return random_refiner(folder, tiny=True)


def tiny_vae(folder: Path) -> Path:
    """An AutoencoderTiny, in the place of TAESDXL."""
    return random_vae(folder, tiny=True)
