#include <algorithm>

#include "parallel/comm/thread/exchange.h"

// What an exchange between threads computes: results of all sides, from the inputs of all sides.
namespace switchyard {

const void* Exchange::part(size_t from, size_t to, int64_t bytes) const {
  const Side& side = sides_[from];
  if (side.stash.data() != nullptr &&
      (from == to || side.operation.kind == OperationKind::all_reduce))
    return side.stash.data();
  return static_cast<const std::byte*>(side.operation.in.data) + static_cast<int64_t>(to) * bytes;
}

std::byte* Exchange::make_results(int64_t bytes) {
  if (bytes > 0) results_ = mover_->take(bytes);
  return static_cast<std::byte*>(results_.data());
}

void Exchange::reduce(bool scatter) {
  const Operation& o = sides_[0].operation;
  const int64_t bytes = o.out.bytes();
  const size_t parts = scatter ? sides_.size() : 1;
  std::byte* results = make_results(static_cast<int64_t>(parts) * bytes);
  std::vector<const void*> inputs(sides_.size());
  for (size_t to = 0; to < parts && bytes > 0; ++to) {
    for (size_t from = 0; from < sides_.size(); ++from) inputs[from] = part(from, to, bytes);
    mover_->reduce(inputs, results + static_cast<int64_t>(to) * bytes, o.out.count, o.out.dtype,
                   o.reduce);
  }
  for (size_t i = 0; i < sides_.size(); ++i) {
    sides_[i].offset = scatter ? static_cast<int64_t>(i) * bytes : 0;
    sides_[i].bytes = bytes;
  }
}

void Exchange::gather() {
  const int64_t bytes = sides_[0].operation.in.bytes();
  const auto n = static_cast<int64_t>(sides_.size());
  std::byte* results = make_results(n * bytes);
  for (Side& side : sides_) {
    mover_->copy(results, side.operation.in.data, bytes);
    results += bytes;
    side.bytes = n * bytes;
  }
}

void Exchange::exchange_parts() {
  const auto n = static_cast<int64_t>(sides_.size());
  const int64_t bytes = sides_[0].operation.in.bytes() / n;
  std::byte* results = make_results(n * n * bytes);
  for (size_t to = 0; to < sides_.size(); ++to) {
    sides_[to].offset = static_cast<int64_t>(to) * n * bytes;
    sides_[to].bytes = n * bytes;
    for (size_t from = 0; from < sides_.size(); ++from, results += bytes)
      mover_->copy(results, part(from, to, bytes), bytes);
  }
}

void Exchange::copy_from(size_t root) {
  const Buffer& in = sides_[root].operation.in;
  mover_->copy(make_results(in.bytes()), in.data, in.bytes());
  for (size_t i = 0; i < sides_.size(); ++i) sides_[i].bytes = i == root ? 0 : in.bytes();
}

void Exchange::make_groups() {
  std::vector<size_t> order(sides_.size());
  for (size_t i = 0; i < order.size(); ++i) order[i] = i;
  std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) {
    const ThreadSplit &x = sides_[a].split, &y = sides_[b].split;
    return std::tie(x.color, x.key) < std::tie(y.color, y.key);
  });
  std::map<int, std::shared_ptr<ThreadGroup>> groups;
  for (const size_t i : order) {
    ThreadSplit& split = sides_[i].split;
    if (split.color < 0) continue;
    auto& group = groups[split.color];
    if (!group)
      group = std::make_shared<ThreadGroup>(
          ThreadGroup{.world = world_.shared_from_this(), .name = split.name});
    split.group = group;
    split.rank = static_cast<int>(group->world_ranks.size());
    group->world_ranks.push_back(sides_[i].world_rank);
  }
}

}  // namespace switchyard
