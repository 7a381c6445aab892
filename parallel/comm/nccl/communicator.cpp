#include "parallel/comm/nccl/communicator.h"

#include <algorithm>
#include <map>
#include <set>

#include "parallel/comm/exchange_wait.h"
#include "parallel/comm/nccl/api.h"

// Groups are made by ncclCommSplit, not from a unique id each: what the parent knows of the
// machines is used again, and no id has to travel.
namespace switchyard {

namespace {

using Pair = std::pair<int, int>;  // sender and receiver

// As many pairs as can be opened at once: no rank is in two of them.
std::vector<Pair> take_disjoint(std::vector<Pair>& pairs, int ranks) {
  std::vector<Pair> chosen;
  std::vector<bool> busy(static_cast<size_t>(ranks));
  std::erase_if(pairs, [&](const Pair& pair) {
    auto from = busy[static_cast<size_t>(pair.first)], to = busy[static_cast<size_t>(pair.second)];
    if (from || to) return false;
    from = to = true;
    chosen.push_back(pair);
    return true;
  });
  return chosen;
}

class NcclCommunicator final : public CheckedCommunicator {
 public:
  NcclCommunicator(NcclProcess& process, const Member& self, ncclComm_t comm)
      : CheckedCommunicator(self), process_(process), lane_(process, self, comm) {
    warm_up();
  }

  std::unique_ptr<Communicator> split(int color, int key, std::string name) override;
  void group_begin() override { begin_nccl_group(); }
  void group_end() override { end_nccl_group(); }
  void open_channels(std::span<const Pair> pairs) override;

 private:
  struct Wish {
    int32_t color, key;
  };
  bool moves(Device) const override { return true; }
  Handle start(const Operation& operation, Stream& stream) override;
  std::vector<Wish> exchange_wishes(Wish mine);
  void warm_up();
  void open_channel(const Pair& mine);

  NcclProcess& process_;
  NcclLane lane_;
  std::set<Pair> opened_;                               // of all ranks
  std::map<Pair, std::unique_ptr<NcclLane>> channels_;  // that this rank is an end of
};

// A channel's two members are the sender, 0, and the receiver, 1.
Handle NcclCommunicator::start(const Operation& operation, Stream& stream) {
  if (operation.device() == Device::cuda && operation.in.dtype == DType::u16 &&
      (operation.kind == OperationKind::all_reduce ||
       operation.kind == OperationKind::reduce_scatter))
    fail_operation(self(), operation, "NCCL does not reduce u16; such elements can be moved only");
  if (is_point_to_point(operation.kind)) {
    const bool sends = operation.kind == OperationKind::send;
    const auto channel =
        channels_.find(sends ? Pair(rank(), operation.peer) : Pair(operation.peer, rank()));
    if (channel != channels_.end()) {
      Operation there = operation;
      there.peer = sends ? 1 : 0;
      return channel->second->start(there, stream);
    }
  }
  return lane_.start(operation, stream);
}

// NCCL connects ranks and loads its kernels at an operation's first use; that is done here, before
// the first step.
void NcclCommunicator::warm_up() {
  const auto n = static_cast<int64_t>(size());
  const Memory memory((n + 1) * 64, Device::cuda, "warm-up of nccl");
  Stream stream(Device::cuda);
  Buffer whole, part;
  whole.device = part.device = Device::cuda;
  whole.data = memory.data();
  whole.count = n;
  part.data = static_cast<std::byte*>(memory.data()) + n * 64;
  part.count = 1;
  const Label label{"warm-up"};
  for (const DType dtype : {DType::f32, DType::bf16}) {
    whole.dtype = part.dtype = dtype;
    all_reduce(whole, ReduceOp::sum, stream, label).wait(stream);
    reduce_scatter(whole, part, ReduceOp::sum, stream, label).wait(stream);
    all_gather(part, whole, stream, label).wait(stream);
    broadcast(whole, 0, stream, label).wait(stream);
  }
  all_reduce(whole, ReduceOp::max, stream, label).wait(stream);
  stream.synchronize();
  barrier(label);
}

std::vector<NcclCommunicator::Wish> NcclCommunicator::exchange_wishes(Wish mine) {
  std::vector<Wish> all(static_cast<size_t>(size()));
  const std::span<int32_t> in(&mine.color, 2);
  const std::span<int32_t> out(&all[0].color, 2 * all.size());
  Stream stream;
  all_gather(in, out, stream, {"split"}).wait(stream);
  return all;
}

std::unique_ptr<Communicator> NcclCommunicator::split(int color, int key, std::string name) {
  const auto all = exchange_wishes({.color = color, .key = key});
  std::map<int, int> members;
  for (const Wish& wish : all) ++members[wish.color];
  const bool any_larger = std::any_of(members.begin(), members.end(), [](const auto& group) {
    return group.first >= 0 && group.second > 1;
  });
  const bool alone = color >= 0 && members[color] == 1;
  ncclComm_t child = nullptr;
  if (any_larger) child = lane_.split(alone ? -1 : color, key, nccl_config(name));
  if (color < 0) return nullptr;
  if (alone) return make_self_communicator(std::move(name), self().world_rank);
  Member member{.size = members[color], .world_rank = self().world_rank, .group = std::move(name)};
  std::vector<Pair> order;  // by key, then by rank
  for (int other = 0; other < size(); ++other) {
    const Wish& wish = all[static_cast<size_t>(other)];
    if (wish.color != color) continue;
    order.emplace_back(wish.key, other);
    member.rank += Pair(wish.key, other) < Pair(key, rank());
  }
  std::ranges::sort(order);
  std::vector<int> ranks(order.size());
  std::ranges::transform(order, ranks.begin(), &Pair::second);
  member.world_ranks = world_ranks_of(self(), ranks);
  return make_nccl_group(process_, member, child);
}

// NCCL lets a kernel that sends or receives wait on the GPU until its peer has come, and with it
// all that was queued behind. With a communicator and a stream for each direction between two ranks
// only messages in that same order are behind it.
void NcclCommunicator::open_channels(std::span<const Pair> wanted) {
  std::vector<Pair> pairs;
  for (const Pair& pair : wanted) {
    const bool ranks = std::min(pair.first, pair.second) >= 0 &&
                       std::max(pair.first, pair.second) < size() && pair.first != pair.second;
    check(ranks, "nccl", "a channel from {} to {} in {}; two of its ranks 0 ... {} are needed",
          pair.first, pair.second, name(), size() - 1);
    if (opened_.insert(pair).second) pairs.push_back(pair);
  }
  while (!pairs.empty()) {
    Pair mine(-1, -1);
    int color = -1;
    const auto round = take_disjoint(pairs, size());
    for (size_t i = 0; i < round.size(); ++i) {
      if (round[i].first != rank() && round[i].second != rank()) continue;
      mine = round[i];
      color = static_cast<int>(i);
    }
    ncclConfig_t config = nccl_config(name());
    config.maxCTAs = 4;  // a message that waits for its peer leaves the GPU to others
    const ncclComm_t child = lane_.split(color, mine.first == rank() ? 0 : 1, config);
    if (color < 0) continue;
    const Member member{.rank = mine.first == rank() ? 0 : 1,
                        .size = 2,
                        .world_rank = self().world_rank,
                        .group = fmt::format("{} from {} to {}", name(), mine.first, mine.second),
                        .world_ranks = world_ranks_of(self(), {mine.first, mine.second})};
    channels_[mine] = std::make_unique<NcclLane>(process_, member, child);
    open_channel(mine);
  }
}

void NcclCommunicator::open_channel(const Pair& mine) {
  int32_t value = 1;
  Stream stream;
  const std::span<int32_t> message(&value, 1);
  const bool sends = mine.first == rank();
  Handle moved = sends ? send(message, mine.second, stream, {"warm-up"})
                       : recv(message, mine.first, stream, {"warm-up"});
  moved.wait(stream);
}

}  // namespace

ncclConfig_t nccl_config(const std::string&) {
  ncclConfig_t config = NCCL_CONFIG_INITIALIZER;
  config.blocking = 0;
  return config;
}

std::unique_ptr<CheckedCommunicator> make_nccl_group(NcclProcess& process, const Member& self,
                                                     ncclComm_t comm) {
  return std::make_unique<NcclCommunicator>(process, self, comm);
}

}  // namespace switchyard
