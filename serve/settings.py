"""What the service can be told: `args` of its application in serve/scorer.yaml."""

from __future__ import annotations

from limits import parse
from pydantic import Field, field_validator

from artsim.config import Section


class ServiceConfig(Section):
    """Which model answers, who may ask, and how much at a time."""

    model: str = Field(min_length=1, description="folder or URL of a trained model, such as s3://bucket/art/models/a70")
    revision: str = Field(
        "", description="any word; another one has `serve deploy` load the folder anew, whose contents have changed"
    )
    keys: str = Field(
        "", description="file or URL of API keys, as `artsim key` writes it; empty: no keys, loopback only"
    )
    rate_limit: str = Field(
        "600/minute", description="calls of one key in each replica of Ingress, as 10/second or 600/minute"
    )
    num_cpus: float = Field(1.0, gt=0, description="CPU cores of one Encoder replica")
    num_gpus: float = Field(0.0, ge=0, description="GPUs of one Encoder replica; fractions share a card; 0: on the CPU")
    max_batch_size: int = Field(8, ge=1, description="pictures that a replica looks at together")
    batch_wait_timeout_s: float = Field(
        0.0, ge=0, description="seconds a batch waits to fill; worth some on a GPU only"
    )
    max_bytes: int = Field(10_000_000, ge=1, description="bytes of one picture")
    max_pixels: int = Field(20_000_000, ge=1, description="pixels of one picture, width times height")
    max_pairs: int = Field(16, ge=1, description="pairs of one call of /v1/compare/batch")
    upload_timeout_s: float = Field(10.0, gt=0, description="seconds in which a request must have arrived whole")
    request_timeout_s: float = Field(30.0, gt=0, description="seconds after which a request is given up")
    retry_after_s: int = Field(2, ge=1, description="seconds after which a client that was turned away may come back")

    @field_validator("rate_limit")
    @classmethod
    def _is_rate(cls, rate: str) -> str:
        try:
            parse(rate)
        except ValueError as error:
            raise ValueError("write a number and a unit, such as 10/second or 600/minute") from error
        return rate

    @property
    def max_request_bytes(self) -> int:
        """Bytes of one request: four pictures of the largest size, and what a form adds to them."""
        return 4 * self.max_bytes + 65_536
