#pragma once

#include <cstdint>

namespace switchyard {
struct GpuDescription;
enum class Priority : uint8_t;
}  // namespace switchyard

// Private to core: what device.cpp, graph.cpp and memory.cpp ask of the CUDA runtime, handles as
// void*. cuda/device_cuda.cpp defines these, or cuda/device_no_cuda.cpp in a build without CUDA.
namespace switchyard::cuda {

int count();  // 0 where the runtime reports any error
void select(int index);
GpuDescription describe();

void* allocate(int64_t bytes);  // zeroed; null where there is no room
void release(void* memory);
void* allocate_pinned(int64_t bytes);  // host memory, zeroed; null where there is no room
void release_pinned(void* memory);

void* make_stream(Priority priority);
void destroy_stream(void* stream);
void synchronize_stream(void* stream);

void* make_event(bool timed);
void destroy_event(void* event);
void record_event(void* event, void* stream);
void wait_event(void* stream, void* event);
void synchronize_event(void* event);
bool query_event(void* event);
double elapsed(void* begin, void* end);  // milliseconds

// What the stream is given between begin and end is recorded. All other threads go on as before.
void begin_capture(void* stream);
void* end_capture(void* stream, int64_t& nodes);  // ready to launch
void abandon_capture(void* stream);               // nothing is kept
void launch_graph(void* graph, void* stream);
void destroy_graph(void* graph);

void copy(void* to, const void* from, int64_t bytes, void* stream);

}  // namespace switchyard::cuda
