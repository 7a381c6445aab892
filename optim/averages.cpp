#include "optim/averages.h"

#include <algorithm>

#include "core/error.h"
#include "core/ops/averaging.h"
#include "core/ops/elementwise.h"

namespace switchyard {

namespace {

using Kind = AverageSpec::Kind;

std::string group_of(const AverageRecord& record) { return "average/" + record.spec.name; }

bool contains(std::span<const int64_t> steps, int64_t step) {
  return std::ranges::find(steps, step) != steps.end();
}

}  // namespace

std::string_view name_of(Kind kind) {
  constexpr std::string_view names[] = {"ema", "lawa", "swa", "running"};
  return names[static_cast<size_t>(kind)];
}

bool AverageRecord::takes(int64_t step) const {
  return step > since && step >= spec.from && step % spec.every == 0;
}

int64_t Averages::bytes_needed(std::span<const AverageRecord> records, DType weights,
                               int64_t shard_elements) {
  if (records.empty()) return 0;
  const int64_t shard = Arena::footprint({shard_elements}, DType::f32);
  int64_t bytes = weights == DType::f32 ? shard : 0;
  for (const AverageRecord& record : records) {
    bytes += shard;
    if (record.spec.kind == Kind::lawa) {
      bytes += Arena::footprint({record.spec.k, shard_elements}, DType::f32);
    }
    if (record.spec.kind == Kind::running) {
      bytes += Arena::footprint({shard_elements}, DType::f64);
    }
  }
  return bytes;
}

Averages::Averages(std::vector<AverageRecord> records, const SavedState& state,
                   const FlatBuffers& buffers, Device where)
    : state_(state), weights_device_(buffers.options().device) {
  if (records.empty()) return;
  const int64_t elements = buffers.shard_elements();
  const DType type = buffers.options().dtype;
  const int64_t bytes = bytes_needed(records, type, elements);
  if (where == weights_device_) {
    arena_ = Arena("averages", bytes, where);
  } else {
    check(where == Device::cpu, "averages", "averages on {} of weights on {}", name_of(where),
          name_of(weights_device_));
    arena_ = Arena::pinned("averages", bytes + Arena::footprint({elements}, DType::f32) +
                                           Arena::footprint({elements}, type));
    staged_ = arena_.allocate({elements}, DType::f32, "weights");
    rounded_ = arena_.allocate({elements}, type, "a mean");
  }
  if (!state.has_own_master()) kept_ = arena_.allocate({elements}, DType::f32, "raw weights");
  for (AverageRecord& record : records) {
    Held held;
    held.record = std::move(record);
    const AverageSpec& spec = held.record.spec;
    held.mean = arena_.allocate({elements}, DType::f32, spec.name);
    if (spec.kind == Kind::lawa) {
      held.ring = arena_.allocate({spec.k, elements}, DType::f32, spec.name);
      check(std::ssize(held.record.members) <= spec.k, "averages", "'{}' has {} members of {}",
            spec.name, held.record.members.size(), spec.k);
    }
    if (spec.kind == Kind::running) {
      held.sum = arena_.allocate({elements}, DType::f64, spec.name);
    }
    held_.push_back(std::move(held));
  }
}

Tensor Averages::row(const Held& held, size_t member) const {
  const int64_t k = held.record.spec.k;
  const int64_t at = (held.first + static_cast<int64_t>(member)) % k;
  return held.ring.slice(0, at, at + 1).view({held.mean.elements()});
}

bool Averages::apart() const { return static_cast<bool>(staged_); }

ops::Context Averages::context() {
  return apart() ? ops::Context{host_, host_scratch_} : state_.context();
}

Tensor Averages::arrived(const ShardRun& run) {
  const Tensor weights = state_.master(run);
  if (!apart()) return weights;
  const Tensor here = run.in_shard(staged_);
  copy_bytes(here.data, weights.data, weights.bytes(), state_.context().stream);
  return here;
}

void Averages::take(Held& held, const ShardRun& run, const Tensor& weights) {
  const AverageRecord& record = held.record;
  switch (record.spec.kind) {
    case Kind::ema:
      ops::move_towards(context(), weights, record.count == 1 ? 1.0 : 1.0 - record.spec.beta,
                        run.in_shard(held.mean));
      break;
    case Kind::swa:
      ops::move_towards(context(), weights, 1.0 / static_cast<double>(record.count),
                        run.in_shard(held.mean));
      break;
    case Kind::lawa:
      ops::copy(context(), weights, run.in_shard(row(held, record.members.size() - 1)));
      break;
    case Kind::running:
      ops::add_to_sum(context(), weights, run.in_shard(held.sum));
      break;
  }
}

void Averages::take(int64_t step) {
  std::vector<Tensor> weights;
  for (Held& held : held_) {
    AverageRecord& record = held.record;
    if (!record.takes(step)) continue;
    if (weights.empty()) {
      for (const ShardRun& run : state_.runs().all) weights.push_back(arrived(run));
      if (apart()) state_.context().stream.synchronize();
    }
    ++record.count;
    if (record.spec.kind == Kind::lawa) {
      if (std::ssize(record.members) == record.spec.k) {
        record.members.erase(record.members.begin());
        held.first = (held.first + 1) % record.spec.k;
      }
      record.members.push_back(step);
    }
    for (size_t i = 0; i < weights.size(); ++i) take(held, state_.runs().all[i], weights[i]);
  }
}

void Averages::settle(Held& held) {
  const AverageRecord& record = held.record;
  if (record.spec.kind == Kind::lawa) {
    ops::mean_of_ring(context(), held.ring, held.first, std::ssize(record.members), held.mean);
  }
  if (record.spec.kind == Kind::running) {
    ops::mean_of_sum(context(), held.sum, record.count, held.mean);
  }
}

void Averages::show(size_t i) {
  settle(held_[i]);
  if (apart()) state_.context().stream.synchronize();  // for the mean shown before
  for (const ShardRun& run : state_.runs().all) {
    const Tensor weights = state_.weights(run);
    const Tensor mean = run.in_shard(held_[i].mean);
    Stream& stream = state_.context().stream;
    if (kept_) copy_bytes(run.in_shard(kept_).data, weights.data, weights.bytes(), stream);
    if (!apart()) {
      ops::cast(state_.context(), mean, weights);
      continue;
    }
    const Tensor rounded = run.in_shard(rounded_);
    ops::cast(context(), mean, rounded);
    copy_bytes(weights.data, rounded.data, rounded.bytes(), stream);
  }
}

void Averages::restore() {
  for (const ShardRun& run : state_.runs().all) {
    const Tensor weights = state_.weights(run);
    if (kept_) {
      copy_bytes(weights.data, run.in_shard(kept_).data, weights.bytes(), state_.context().stream);
    } else {
      ops::cast(state_.context(), state_.master(run), weights);
    }
  }
}

void Averages::add(std::vector<ShardedTensor>& all, const std::string& group, const Tensor& shard,
                   StateUse use) const {
  auto tensors = state_.shard_tensors(group, shard, use);
  std::ranges::move(tensors, std::back_inserter(all));
}

std::vector<ShardedTensor> Averages::sources(std::span<const int64_t> left_out,
                                             StateUse use) const {
  std::vector<ShardedTensor> all;
  for (const Held& held : held_) {
    const AverageRecord& record = held.record;
    const std::string group = group_of(record);
    if (record.count == 0) continue;
    if (record.spec.kind == Kind::running) add(all, group + "/sum", held.sum, use);
    for (size_t m = 0; m < record.members.size(); ++m) {
      const int64_t step = record.members[m];
      if (contains(left_out, step)) continue;
      add(all, group + "/member-" + std::to_string(step), row(held, m), use);
    }
    const bool follows = record.spec.kind == Kind::lawa || record.spec.kind == Kind::running;
    if (use == StateUse::save || !follows) add(all, group, held.mean, use);
  }
  return all;
}

std::vector<ShardedTensor> Averages::to_save(std::span<const int64_t> left_out) {
  for (Held& held : held_) {
    if (held.record.count > 0) settle(held);
  }
  return sources(left_out, StateUse::save);
}

std::vector<ShardedTensor> Averages::to_load(std::span<const int64_t> left_out) {
  return sources(left_out, StateUse::load);
}

std::vector<ShardedTensor> Averages::member_from_master(int64_t step) {
  std::vector<ShardedTensor> all;
  for (const Held& held : held_) {
    const auto& members = held.record.members;
    const auto at = std::ranges::find(members, step);
    if (at == members.end()) continue;
    add(all, std::string(groups::master), row(held, static_cast<size_t>(at - members.begin())),
        StateUse::load);
  }
  return all;
}

}  // namespace switchyard
