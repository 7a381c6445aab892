"""All stages, best value first: the order in which they run."""
import checks  # noqa: F401
import benches  # noqa: F401
from harness import STAGES, Place, run

ORDER = ["versions", "operators", "goldens", "repeat", "cpu", "ranks", "bench-124m", "kernels",
         "sanitizer", "bench-1.3b", "pytorch-124m", "bench-7b", "pytorch-1.3b", "pytorch-7b"]
STAGES = {name: STAGES[name] for name in ORDER}

__all__ = ["STAGES", "Place", "run"]
