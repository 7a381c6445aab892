#include "parallel/comm/exchange_plan.h"

#include <cstring>

#include "parallel/comm/host_reduction.h"

namespace switchyard {

namespace {

constexpr int message_tag = 0;  // of send and recv, which match in order
// All-reduces up to this size are one round: everybody gets everything and sums it.
constexpr int64_t one_round_bytes = 8192;

std::byte* at(const Buffer& buffer, int64_t element) {
  return static_cast<std::byte*>(buffer.data) + element * size_of(buffer.dtype);
}

// Fills a task with the steps of an operation, for one rank. Copied into steps that come later.
struct Plan {
  int rank = 0;
  int size = 1;
  int tag = 0;  // and tag + 1, for a second round

  // Calls f for every other rank, each rank beginning with another one.
  template <class F>
  void for_each_peer(F f) const {
    for (int i = 1; i < size; ++i) f((rank + i) % size);
  }
  int64_t slot(int peer) const { return peer < rank ? peer : peer - 1; }
  int64_t begin_of(int part, int64_t count) const { return part * count / size; }

  void messages(const Operation& o, MessageTask& task) const;
  void exchange_parts(const Operation& o, MessageTask& task) const;
  void all_reduce(const Operation& o, MessageTask& task) const;
  void reduce_in_one_round(const Operation& o, MessageTask& task) const;
  void reduce_own_part(const Operation& o, Buffer own, MessageTask& task) const;
  void broadcast(const Operation& o, MessageTask& task) const;
  void sum(const void* own, const std::byte* received, Buffer out, ReduceOp op) const;
};

void Plan::sum(const void* own, const std::byte* received, Buffer out, ReduceOp op) const {
  std::vector<const void*> parts(static_cast<size_t>(size));
  for (int i = 0; i < size; ++i)
    parts[static_cast<size_t>(i)] = i == rank ? own : received + slot(i) * out.bytes();
  reduce_on_host(parts, out.data, out.count, out.dtype, op);
}

void Plan::reduce_in_one_round(const Operation& o, MessageTask& task) const {
  const Buffer inout = o.out;
  std::byte* received = task.scratch((size - 1) * inout.bytes());
  for_each_peer([&](int peer) {
    task.recv(received + slot(peer) * inout.bytes(), inout.bytes(), peer, tag);
  });
  for_each_peer([&](int peer) { task.send(inout.data, inout.bytes(), peer, tag); });
  task.then([plan = *this, inout, received, op = o.reduce] {
    plan.sum(inout.data, received, inout, op);
  });
}

// Rank j receives all ranks' part j of `o.in` and sums it into its `own`, which may lie there.
void Plan::reduce_own_part(const Operation& o, Buffer own, MessageTask& task) const {
  const Buffer in = o.in;
  std::byte* received = task.scratch((size - 1) * own.bytes());
  for_each_peer(
      [&](int peer) { task.recv(received + slot(peer) * own.bytes(), own.bytes(), peer, tag); });
  for_each_peer([&](int peer) {
    const int64_t begin = begin_of(peer, in.count), end = begin_of(peer + 1, in.count);
    task.send(at(in, begin), (end - begin) * size_of(in.dtype), peer, tag);
  });
  task.then([plan = *this, in, own, received, op = o.reduce] {
    plan.sum(at(in, plan.begin_of(plan.rank, in.count)), received, own, op);
  });
}

void Plan::all_reduce(const Operation& o, MessageTask& task) const {
  if (o.out.bytes() <= one_round_bytes) return reduce_in_one_round(o, task);
  const Buffer all = o.out;
  Buffer own = all;
  own.data = at(all, begin_of(rank, all.count));
  own.count = begin_of(rank + 1, all.count) - begin_of(rank, all.count);
  reduce_own_part(o, own, task);
  task.then([plan = *this, all, own, &task] {
    plan.for_each_peer([&](int peer) {
      const int64_t begin = plan.begin_of(peer, all.count);
      const int64_t end = plan.begin_of(peer + 1, all.count);
      task.recv(at(all, begin), (end - begin) * size_of(all.dtype), peer, plan.tag + 1);
    });
    plan.for_each_peer([&](int peer) { task.send(own.data, own.bytes(), peer, plan.tag + 1); });
  });
}

// All-gather, all-to-all, and a barrier as one of no bytes.
void Plan::exchange_parts(const Operation& o, MessageTask& task) const {
  const bool gather = o.kind == OperationKind::all_gather;
  const int64_t part = gather ? o.in.count : o.in.count / size;
  const int64_t bytes = part * size_of(o.in.dtype);
  const auto outgoing = [&](int peer) { return at(o.in, gather ? 0 : peer * part); };
  for_each_peer([&](int peer) { task.recv(at(o.out, peer * part), bytes, peer, tag); });
  for_each_peer([&](int peer) { task.send(outgoing(peer), bytes, peer, tag); });
  std::byte* own = at(o.out, rank * part);
  if (bytes > 0 && own != outgoing(rank))
    std::memcpy(own, outgoing(rank), static_cast<size_t>(bytes));
}

// A binomial tree: with ranks counted from the root, r receives from r without its lowest set bit.
void Plan::broadcast(const Operation& o, MessageTask& task) const {
  const int from_root = (rank - o.peer + size) % size;
  const int lowest_bit = from_root & -from_root;
  const auto rank_at = [&](int place) { return (place + o.peer) % size; };
  if (from_root > 0) task.recv(o.out.data, o.out.bytes(), rank_at(from_root - lowest_bit), tag);
  task.then([plan = *this, buffer = o.out, root = o.peer, from_root, lowest_bit, &task] {
    int bit = 1;
    while (bit < plan.size && (from_root == 0 || bit < lowest_bit)) bit *= 2;
    for (bit /= 2; bit > 0; bit /= 2)
      if (from_root + bit < plan.size)
        task.send(buffer.data, buffer.bytes(), (from_root + bit + root) % plan.size, plan.tag);
  });
}

void Plan::messages(const Operation& o, MessageTask& task) const {
  switch (o.kind) {
    case OperationKind::send:
      return task.send(o.in.data, o.in.bytes(), o.peer, message_tag);
    case OperationKind::recv:
      return task.recv(o.out.data, o.out.bytes(), o.peer, message_tag);
    case OperationKind::all_reduce:
      return all_reduce(o, task);
    case OperationKind::reduce_scatter:
      return reduce_own_part(o, o.out, task);
    case OperationKind::broadcast:
      return broadcast(o, task);
    default:
      return exchange_parts(o, task);
  }
}

}  // namespace

void plan_exchange(const Operation& operation, const Member& self, uint64_t number,
                   MessageTask& task) {
  constexpr uint64_t tags = 1 << 20;
  Plan plan{.rank = self.rank, .size = self.size};
  if (!is_point_to_point(operation.kind)) plan.tag = 1 + 2 * static_cast<int>(number % tags);
  plan.messages(operation, task);
}

}  // namespace switchyard
