#include "parallel/comm/tcp/communicator.h"

#include <algorithm>
#include <atomic>
#include <vector>

#include "parallel/comm/checked_communicator.h"
#include "parallel/comm/exchange_plan.h"

namespace switchyard {

namespace {

class TcpWork final : public Handle::Work {
 public:
  explicit TcpWork(std::shared_ptr<TcpTask> task) : task_(std::move(task)) {}
  void wait(Stream&) override { task_->wait(); }

 private:
  std::shared_ptr<TcpTask> task_;
};

std::shared_ptr<TcpGroup> make_tcp_group(TcpTasks& network, Member member, uint64_t id,
                                         std::chrono::milliseconds timeout) {
  return std::shared_ptr<TcpGroup>(
      new TcpGroup{.network = network, .self = std::move(member), .id = id, .timeout = timeout});
}

class TcpCommunicator final : public CheckedCommunicator {
 public:
  explicit TcpCommunicator(std::shared_ptr<TcpGroup> group)
      : CheckedCommunicator(group->self), group_(std::move(group)) {}

  std::unique_ptr<Communicator> split(int color, int key, std::string name) override;

 private:
  Handle start(const Operation& operation, Stream&) override {
    auto task = std::make_shared<TcpTask>(group_, operation);
    const bool collective = !is_point_to_point(operation.kind);
    plan_exchange(operation, self(), collective ? collectives_++ : 0, *task);
    group_->network.start(task);
    return Handle(std::make_shared<TcpWork>(std::move(task)));
  }

  std::shared_ptr<TcpGroup> group_;
  std::atomic<uint64_t> collectives_ = 0;
};

// The groups of a split have nobody in common, so they share a number: one that rank 0 has given to
// nothing else.
std::unique_ptr<Communicator> TcpCommunicator::split(int color, int key, std::string name) {
  const auto world_rank = static_cast<uint64_t>(self().world_rank);
  std::vector<int64_t> mine{color, key,
                            static_cast<int64_t>(world_rank << 32 | group_->network.next_group())};
  std::vector<int64_t> all(mine.size() * static_cast<size_t>(size()));
  Stream stream;
  all_gather(std::span(mine), std::span(all), stream, {"split"}).wait(stream);
  if (color < 0) return nullptr;
  const auto said = [&](int member, size_t what) {
    return all[static_cast<size_t>(member) * mine.size() + what];
  };
  std::vector<int> members;
  for (int i = 0; i < size(); ++i)
    if (said(i, 0) == color) members.push_back(i);
  std::ranges::stable_sort(members, {}, [&](int member) { return said(member, 1); });
  const auto place = std::ranges::find(members, rank()) - members.begin();
  Member member{.rank = static_cast<int>(place),
                .size = static_cast<int>(members.size()),
                .world_rank = self().world_rank,
                .group = std::move(name)};
  for (const int i : members)
    member.world_ranks.push_back(self().world_ranks[static_cast<size_t>(i)]);
  const auto id = static_cast<uint64_t>(said(0, 2));
  return std::make_unique<TcpCommunicator>(
      make_tcp_group(group_->network, std::move(member), id, group_->timeout));
}

}  // namespace

std::unique_ptr<Communicator> make_tcp_world(TcpNetwork& network, int size,
                                             std::chrono::milliseconds timeout) {
  Member self{.rank = network.world_rank(),
              .size = size,
              .world_rank = network.world_rank(),
              .group = "world"};
  for (int i = 0; i < size; ++i) self.world_ranks.push_back(i);
  auto world =
      std::make_unique<TcpCommunicator>(make_tcp_group(network, std::move(self), 0, timeout));
  world->set_control(make_control_plane(world->split(0, network.world_rank(), "control")));
  return world;
}

}  // namespace switchyard
