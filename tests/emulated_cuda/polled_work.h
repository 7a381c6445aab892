#pragma once

#include <cuda_runtime.h>

#include <functional>

namespace switchyard::emulated {

// What the emulated NCCL asks of the emulated streams, which define it: queues work that waits for
// other processes. In the stream's order `poll` is called again and again until it returns true, by
// whichever thread runs streams. While it returns false that thread goes on with the work of all
// other streams that is ready, as kernels of several streams run side by side on a GPU: a
// synchronize runs every stream until its own target is reached, sleeping briefly when nothing
// moves. Work of one stream that waits for an event of another is ready once that is reached.
// Querying an event runs nothing and may be done by any thread meanwhile.
void enqueue_polled(cudaStream_t stream, std::function<bool()> poll);

}  // namespace switchyard::emulated
