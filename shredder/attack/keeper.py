"""Finished attacks, kept with their seconds."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from shredder.io import kept


@dataclass(frozen=True)
class Keeper:
    """Keeps what was found in `folder`, under a key as from `shredder.io.record.key`; keeps nothing without a folder."""

    folder: Path | None
    key: str

    def once(self, name: str, make: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """What `make` returns, and its `seconds`, made once."""

        def timed() -> dict[str, Any]:
            begin = time.perf_counter()
            return {**make(), "seconds": time.perf_counter() - begin}

        return timed() if self.folder is None else kept.once(self.folder / f"{name}.kept", self.key, timed)
