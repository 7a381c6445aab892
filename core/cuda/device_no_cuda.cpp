#include "core/device.h"
#include "core/device_backend.h"
#include "core/error.h"

// Linked in place of device_cuda.cpp where a build has no CUDA.
namespace switchyard::cuda {

namespace {

[[noreturn]] void missing() { fail("device", "this build has no CUDA; allowed: cpu"); }

}  // namespace

int count() { return 0; }
void select(int) { missing(); }
GpuDescription describe() { missing(); }

void* allocate(int64_t) { missing(); }
void release(void*) {}
void* allocate_pinned(int64_t) { missing(); }
void release_pinned(void*) {}

void* make_stream(Priority) { missing(); }
void destroy_stream(void*) {}
void synchronize_stream(void*) { missing(); }

void* make_event(bool) { missing(); }
void destroy_event(void*) {}
void record_event(void*, void*) { missing(); }
void wait_event(void*, void*) { missing(); }
void synchronize_event(void*) { missing(); }
bool query_event(void*) { missing(); }
double elapsed(void*, void*) { missing(); }

void begin_capture(void*) { missing(); }
void* end_capture(void*, int64_t&) { missing(); }
void abandon_capture(void*) {}
void launch_graph(void*, void*) { missing(); }
void destroy_graph(void*) {}

void copy(void*, const void*, int64_t, void*) { missing(); }

}  // namespace switchyard::cuda
