"""All stages, best value first: the order in which they run."""
import checks  # noqa: F401
import benches  # noqa: F401
import smoke  # noqa: F401
from harness import STAGES, Place, run

ORDER = ["smoke", "bench-124m", "versions", "kernels", "operators", "goldens", "repeat", "cpu",
         "bench-1.3b", "pytorch-1.3b", "bench-7b", "pytorch-124m", "ranks", "memcheck", "sanitizer",
         "pytorch-7b"]
STAGES = {name: STAGES[name] for name in ORDER}

# What fits three calls of 540 seconds: stages and the seconds that each may take.
CALLS = {
    "a": {"smoke": 60, "bench-124m": 160, "kernels": 70, "operators": 240},
    "b": {"goldens": 120, "repeat": 110, "bench-1.3b": 150, "pytorch-1.3b": 150},
    "c": {"bench-7b": 190, "pytorch-124m": 140, "ranks": 110, "memcheck": 90},
}

__all__ = ["CALLS", "STAGES", "Place", "run"]
