#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>

namespace switchyard {

using TellBytes = std::function<void(int64_t bytes)>;
// Does a job, and tells of the bytes that it reads.
using ReadWorker = std::function<void(size_t job, const TellBytes& tell)>;

// Does the jobs 0 to jobs - 1, which begin in this order, on a few threads, as a disk is fast when
// several wait for it, and what one does with its bytes then costs no time. Each thread makes a
// worker of its own. `progress` hears on this thread of what the jobs tell, and may throw. Returns
// when all have ended; throws the error of the first job that has one, behind which none begins.
// Few bytes are read on this thread.
void read_on_threads(size_t jobs, int64_t bytes, const std::function<ReadWorker()>& make_worker,
                     const TellBytes& progress);

}  // namespace switchyard
