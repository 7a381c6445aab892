#pragma once

#include <algorithm>
#include <cstdint>

// Private to core/ops: how work on the CPU is dealt to threads.
namespace switchyard::ops {

// Calls body(begin, end) over [0, count) cut into blocks of `size`, which do not depend on the
// number of threads, so that a sum for each block has the same bits whatever that is.
template <class Body>
void parallel_blocks(int64_t count, int64_t size, const Body& body) {
  const int64_t blocks = (count + size - 1) / size;
#pragma omp parallel for schedule(static) if (blocks > 1)
  for (int64_t block = 0; block < blocks; ++block) {
    body(block * size, std::min(count, (block + 1) * size));
  }
}

}  // namespace switchyard::ops
