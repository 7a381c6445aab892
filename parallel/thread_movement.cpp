#include <algorithm>
#include <cstring>

#include "parallel/host_reduction.h"
#include "parallel/thread_exchange.h"

// What an exchange between threads computes: results of all sides, from the inputs of all sides.
namespace switchyard {

const void* Exchange::part(size_t from, size_t to, int64_t bytes) const {
  const Side& side = sides_[from];
  if (!side.stash.empty() && (from == to || side.operation.kind == OperationKind::all_reduce))
    return side.stash.data();
  return static_cast<const std::byte*>(side.operation.in.data) + static_cast<int64_t>(to) * bytes;
}

void Exchange::reduce(bool scatter) {
  const Operation& o = sides_[0].operation;
  const int64_t bytes = o.out.bytes();
  const size_t parts = scatter ? sides_.size() : 1;
  results_.resize(parts * static_cast<size_t>(bytes));
  std::vector<const void*> inputs(sides_.size());
  for (size_t to = 0; to < parts; ++to) {
    for (size_t from = 0; from < sides_.size(); ++from) inputs[from] = part(from, to, bytes);
    reduce_on_host(inputs, results_.data() + to * static_cast<size_t>(bytes), o.out.count,
                   o.out.dtype, o.reduce);
  }
  for (size_t i = 0; i < sides_.size(); ++i) {
    sides_[i].offset = scatter ? i * static_cast<size_t>(bytes) : 0;
    sides_[i].bytes = static_cast<size_t>(bytes);
  }
}

void Exchange::gather() {
  const auto bytes = static_cast<size_t>(sides_[0].operation.in.bytes());
  results_.resize(sides_.size() * bytes);
  for (size_t i = 0; i < sides_.size(); ++i) {
    if (bytes > 0) std::memcpy(results_.data() + i * bytes, sides_[i].operation.in.data, bytes);
    sides_[i].bytes = results_.size();
  }
}

void Exchange::exchange_parts() {
  const size_t n = sides_.size();
  const auto bytes = static_cast<size_t>(sides_[0].operation.in.bytes()) / n;
  results_.resize(n * n * bytes);
  for (size_t to = 0; to < n; ++to) {
    sides_[to].offset = to * n * bytes;
    sides_[to].bytes = n * bytes;
    for (size_t from = 0; from < n && bytes > 0; ++from)
      std::memcpy(results_.data() + (to * n + from) * bytes,
                  part(from, to, static_cast<int64_t>(bytes)), bytes);
  }
}

void Exchange::copy_from(size_t root) {
  const Buffer& in = sides_[root].operation.in;
  const auto* begin = static_cast<const std::byte*>(in.data);
  results_.assign(begin, begin + in.bytes());
  for (size_t i = 0; i < sides_.size(); ++i) sides_[i].bytes = i == root ? 0 : results_.size();
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
