"""Search spaces of whole networks, whose architectures differ in a few functions."""

from __future__ import annotations

import operator
from abc import abstractmethod

from search_spaces.base import Architecture, SearchSpace
from search_spaces.document import document, shared


class NetworkSpace(SearchSpace):
    """Networks that classify images; a space of them defines what its texts consist of.

    Attributes:
        skeleton: The ONNX functions that all architectures have, but for those of the library in
            `search_spaces.document`, with ``$classes`` for the logits. ``Network (image) =>
            (logits)`` is among them.
        image_size: Height and width of the benchmark's images, in pixels.
        image_multiple: What every image size must be a multiple of.
        classes: Of the benchmark's images.
    """

    skeleton: str
    image_size = 32
    image_multiple = 1
    classes = 10

    @abstractmethod
    def differing(self, architecture: Architecture) -> str:
        """The ONNX functions in which architectures differ, of a member of this space."""

    def resolution(self, architecture: Architecture) -> int:
        """Height and width of the images that an architecture is made for, in pixels."""
        return self.image_size

    def onnx_text(
        self,
        architecture: Architecture,
        *,
        batch_size: int = 1,
        image_size: int | None = None,
        classes: int | None = None,
    ) -> str:
        """The network in the ONNX textual syntax, what differs between architectures first.

        Args:
            architecture: A member of this space.
            batch_size: Images per batch.
            image_size: Height and width of the input, in pixels; None: those of the benchmark.
            classes: Number of logits; None: those of the benchmark.

        Raises:
            ArchitectureError: ``architecture`` is not a member of this space.
            ValueError: A size is not positive, or the image's does not fit the network.
        """
        self.check(architecture)
        size = self.resolution(architecture) if image_size is None else operator.index(image_size)
        if size < 1 or size % self.image_multiple:
            multiple = f"a positive multiple of {self.image_multiple}"
            fitting = multiple if self.image_multiple > 1 else "at least 1"
            raise ValueError(f"image_size must be {fitting}, not {size}")
        logits = self.classes if classes is None else operator.index(classes)
        return document(
            self.name,
            self.differing(architecture),
            shared(self.skeleton.replace("$classes", str(logits))),
            batch_size=operator.index(batch_size),
            image_size=size,
            classes=logits,
        )
