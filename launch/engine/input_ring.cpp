#include "launch/engine/input_ring.h"

#include <algorithm>

#include "core/error.h"

namespace switchyard {

namespace {

constexpr int64_t number_count = 2 + DistributedOptimizer::remark_count;

}  // namespace

int64_t InputRing::bytes_needed(const Shape& microbatch, int64_t microbatches) {
  return Arena::footprint({number_count}, DType::f64) + Arena::footprint({1}, DType::i32) +
         2 * microbatches * Arena::footprint(microbatch, DType::i32);
}

InputRing::Set InputRing::lay_out(Arena& arena, const Shape& microbatch, int64_t microbatches) {
  Set set;
  set.numbers = arena.allocate({number_count}, DType::f64, "numbers of a step");
  set.step = arena.allocate({1}, DType::i32, "step");
  set.batches.resize(static_cast<size_t>(microbatches));
  for (TokenBatch& batch : set.batches) {
    batch.tokens = arena.allocate(microbatch, DType::i32, "tokens");
    batch.targets = arena.allocate(microbatch, DType::i32, "targets");
  }
  return set;
}

// From the step on.
int64_t InputRing::Set::bytes_until(int64_t microbatches) const {
  if (microbatches == 0) return step.bytes();
  const Tensor& last = batches[static_cast<size_t>(microbatches - 1)].targets;
  return static_cast<char*>(last.data) + last.bytes() - static_cast<char*>(step.data);
}

InputRing::InputRing(const Shape& microbatch, int64_t microbatches, Device device)
    : device_(device),
      arena_("tokens", bytes_needed(microbatch, microbatches), device),
      device_set_(lay_out(arena_, microbatch, microbatches)),
      copied_{Event(device), Event(device)} {
  const Tensor& numbers = device_set_.numbers;
  numbers_ = {numbers.slice(0, 0, 1), numbers.slice(0, 1, 2), numbers.slice(0, 2, number_count)};
  if (device == Device::cpu) {
    host_sets_[0] = device_set_;
    return;
  }
  step_on_device_ = static_cast<const uint32_t*>(device_set_.step.data);
  for (size_t i = 0; i < turns; ++i) {
    host_arenas_[i] = Arena::pinned("tokens on the host", bytes_needed(microbatch, microbatches));
    host_sets_[i] = lay_out(host_arenas_[i], microbatch, microbatches);
  }
}

std::span<TokenBatch> InputRing::next(int64_t microbatches) {
  check(microbatches <= static_cast<int64_t>(device_set_.batches.size()), "tokens",
        "{} microbatches; there is room for {}", microbatches, device_set_.batches.size());
  if (device_ != Device::cpu) {
    turn_ = (turn_ + 1) % turns;
    copied_[turn_].synchronize();
  }
  given_ = microbatches;
  return std::span(host_sets_[turn_].batches).first(static_cast<size_t>(microbatches));
}

std::span<const TokenBatch> InputRing::send(int64_t step, Stream& stream) {
  const Set& host = host_sets_[turn_];
  const auto count = static_cast<size_t>(given_);
  if (device_ != Device::cpu) {
    *static_cast<uint32_t*>(host.step.data) = static_cast<uint32_t>(step);
    copy_bytes(device_set_.step.data, host.step.data, host.bytes_until(given_), stream);
    copied_[turn_].record(stream);
    for (size_t i = 0; i < count; ++i) {
      device_set_.batches[i].first_sample = host.batches[i].first_sample;
    }
  } else {
    for (size_t i = 0; i < count; ++i) device_set_.batches[i] = host.batches[i];
  }
  return std::span<const TokenBatch>(device_set_.batches).first(count);
}

const InputRing::DeviceNumbers& InputRing::send(const Numbers& numbers, Stream& stream) {
  const Tensor& host = host_sets_[turn_].numbers;
  auto* values = host.as<double>();
  values[0] = numbers.learning_rate;
  values[1] = numbers.tokens;
  std::ranges::copy(numbers.remarks, values + 2);
  if (device_ != Device::cpu) {
    copy_bytes(device_set_.numbers.data, host.data, host.bytes(), stream);
    copied_[turn_].record(stream);
  }
  return numbers_;
}

}  // namespace switchyard
