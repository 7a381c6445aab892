#include "tests/emulated_cuda/machine.h"

#include <algorithm>
#include <cstdlib>
#include <string>

#include "tests/emulated_cuda/block.h"
#include "tests/emulated_cuda/memory_space.h"
#include "tests/emulated_cuda/polled_work.h"
#include "tests/emulated_cuda/report.h"

namespace emulated {

namespace {

// The driver reads it when it starts; here that is when first work is issued.
bool one_connection() {
  static const bool one = [] {
    const char* text = std::getenv("CUDA_DEVICE_MAX_CONNECTIONS");
    return text != nullptr && std::string(text) == "1";
  }();
  return one;
}

bool is_mark(const Item& item) { return !item.work && item.wait == nullptr; }

}  // namespace

// Never destroyed: owners with static lifetime end their streams late.
Machine& Machine::get() {
  static Machine& machine = *new Machine;
  return machine;
}

Stream* Machine::make_stream(bool blocking, int priority) {
  auto* stream = new Stream;
  stream->device = current_device();
  stream->blocking = blocking;
  stream->priority = priority;
  streams_.insert(stream);
  return stream;
}

void Machine::destroy(Stream* stream) {
  streams_.erase(stream);
  delete stream;
}

Stream* Machine::legacy(int device) {
  Stream*& stream = legacy_[device];
  if (stream == nullptr) {
    stream = make_stream(true, 0);
    stream->device = device;
    stream->legacy = true;
  }
  return stream;
}

Stream* Machine::find(cudaStream_t handle) {
  if (handle == nullptr || handle == cudaStreamLegacy) return legacy(current_device());
  const auto found = streams_.find(reinterpret_cast<Stream*>(handle));
  return found == streams_.end() ? nullptr : *found;
}

void Machine::push(Stream& stream, Item item) {
  one_connection();
  item.number = ++issued_;
  stream.items.push_back(std::move(item));
}

Stream* Machine::next_to_start(int device) const {
  Stream* first = nullptr;
  uint64_t least = 0;
  for (Stream* stream : streams_) {
    if (stream->device != device || stream->items.empty()) continue;
    const auto item =
        std::find_if(stream->items.begin(), stream->items.end(),
                     [](const Item& each) { return !each.started && !is_mark(each); });
    if (item == stream->items.end() || (first != nullptr && item->number > least)) continue;
    first = stream;
    least = item->number;
  }
  return first;
}

void Machine::enqueue(Stream& stream, Work work) {
  if (stream.capture != nullptr) {
    ++stream.capture->streams[&stream][&stream];
    stream.capture->work.push_back(std::move(work));
    return;
  }
  // The legacy stream waits for all blocking ones, and they for it.
  if (stream.blocking) {
    for (Stream* other : streams_) {
      if (other == &stream || other->device != stream.device || other->items.empty()) continue;
      if ((stream.legacy && other->blocking) || other->legacy) {
        push(stream, {{}, enqueue_mark(*other), nullptr});
      }
    }
  }
  push(stream, {std::move(work), nullptr, nullptr});
  run_some();
}

// Other schedules than the latest one, on request: `eager` runs what is queued before the call
// returns, `random` some of it now and then.
void Machine::run_some() {
  static const std::string schedule = [] {
    const char* name = std::getenv("SWITCHYARD_EMULATED_STREAMS");
    return std::string(name == nullptr ? "late" : name);
  }();
  static std::minstd_rand random;
  if (schedule == "late" || (schedule == "random" && random() % 4 != 0)) return;
  const DeviceAccess access;
  while (step_elsewhere(schedule == "random" ? &random : nullptr)) {
    if (schedule == "random" && random() % 4 == 0) break;
  }
  changed_.notify_all();
}

std::shared_ptr<Mark> Machine::enqueue_mark(Stream& stream) {
  auto mark = std::make_shared<Mark>();
  mark->stream = &stream;
  if (stream.capture != nullptr) {
    mark->capture = stream.capture;
    mark->covers = stream.capture->streams[&stream];
  } else {
    push(stream, {{}, nullptr, mark});
  }
  return mark;
}

cudaError_t Machine::enqueue_wait(Stream& stream, const std::shared_ptr<Mark>& mark) {
  if (mark->capture == nullptr) {
    if (stream.capture != nullptr) return cudaErrorStreamCaptureIsolation;
    push(stream, {{}, mark, nullptr});
    return cudaSuccess;
  }
  if (mark->capture->ended) return cudaErrorCapturedEvent;
  if (stream.capture == nullptr) {
    if (!stream.items.empty()) {
      complain("cudaStreamWaitEvent", "a stream joins a capture while work is queued in it");
    }
    stream.capture = mark->capture;
  }
  if (stream.capture != mark->capture) return cudaErrorStreamCaptureMerge;
  Progress& covers = stream.capture->streams[&stream];
  for (const auto& [other, count] : mark->covers) covers[other] = std::max(covers[other], count);
  return cudaSuccess;
}

// The first item of the stream, or of the stream that it waits for.
Machine::Step Machine::step(Stream& stream) {
  if (stream.items.empty()) return Step::empty;
  Item& item = stream.items.front();
  if (one_connection() && !item.started && !is_mark(item) &&
      next_to_start(stream.device) != &stream) {
    return Step::stuck;
  }
  if (item.wait != nullptr && !item.wait->reached) return step(*item.wait->stream);
  item.started = true;
  if (item.work && !item.work()) return Step::stuck;
  if (item.reaches != nullptr) {
    item.reaches->reached = true;
    item.reaches->time = std::chrono::steady_clock::now();
  }
  stream.items.pop_front();
  return Step::ran;
}

// On a GPU all streams go on by themselves; here only when nothing else can.
bool Machine::step_elsewhere(std::minstd_rand* random) {
  std::vector<Stream*> all(streams_.begin(), streams_.end());
  if (random != nullptr) std::shuffle(all.begin(), all.end(), *random);
  return std::any_of(all.begin(), all.end(),
                     [this](Stream* stream) { return step(*stream) == Step::ran; });
}

void Machine::drive(Lock& lock, const std::function<bool()>& done,
                    const std::function<Step()>& next) {
  while (!done()) {
    {
      const DeviceAccess access;
      bool ran = true;
      while (ran && !done()) ran = next() == Step::ran || step_elsewhere();
    }
    changed_.notify_all();
    if (!done()) changed_.wait_for(lock, std::chrono::milliseconds(1));
  }
}

void Machine::run_until(Lock& lock, const std::shared_ptr<Mark>& mark) {
  drive(
      lock, [&] { return mark->reached; }, [&] { return step(*mark->stream); });
}

void Machine::run_all(Lock& lock, Stream& stream) {
  if (!stream.items.empty()) run_until(lock, enqueue_mark(stream));
}

// The youngest streams first: work that waits for none of the others runs in another order than
// it was issued in.
std::vector<Stream*> Machine::in_order(int device) const {
  std::vector<Stream*> all;
  for (Stream* stream : streams_) {
    if (stream->device == device) all.push_back(stream);
  }
  std::reverse(all.begin(), all.end());
  return all;
}

void Machine::run_all(Lock& lock, int device) {
  std::vector<std::shared_ptr<Mark>> ends;
  for (Stream* stream : in_order(device)) {
    if (!stream->items.empty()) ends.push_back(enqueue_mark(*stream));
  }
  for (const auto& end : ends) run_until(lock, end);
}

void Machine::run_legacy(Lock& lock, int device) {
  std::vector<std::shared_ptr<Mark>> ends;
  for (Stream* stream : in_order(device)) {
    if (stream->blocking && !stream->items.empty()) ends.push_back(enqueue_mark(*stream));
  }
  for (const auto& end : ends) run_until(lock, end);
}

void Machine::step_towards(const std::shared_ptr<Mark>& mark) {
  if (mark->reached) return;
  {
    const DeviceAccess access;
    if (step(*mark->stream) == Step::stuck) step_elsewhere();
  }
  changed_.notify_all();
}

void launch(dim3 blocks, dim3 threads, size_t shared_bytes, cudaStream_t handle,
            std::function<void()> body, std::string_view name) {
  const Lock lock = lock_machine();
  Stream* stream = Machine::get().find(handle);
  if (stream == nullptr) report("a kernel is queued on a stream that does not exist");
  Machine::get().enqueue(*stream, [=, kernel = std::string(name), body = std::move(body)] {
    run_grid(blocks, threads, shared_bytes, body, kernel.c_str());
    return true;
  });
}

}  // namespace emulated

void switchyard::emulated::enqueue_polled(cudaStream_t handle, std::function<bool()> poll) {
  const ::emulated::Lock lock = ::emulated::lock_machine();
  ::emulated::Machine& machine = ::emulated::Machine::get();
  ::emulated::Stream* stream = machine.find(handle);
  if (stream == nullptr)
    ::emulated::report("a collective is queued on a stream that does not exist");
  machine.enqueue(*stream, std::move(poll));
}
