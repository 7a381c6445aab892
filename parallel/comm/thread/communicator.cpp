#include <thread>

#include "core/error.h"
#include "parallel/comm/checked_communicator.h"
#include "parallel/comm/thread/exchange.h"

namespace switchyard {

namespace {

// One side's handle of an exchange.
class ThreadWork final : public Handle::Work {
 public:
  ThreadWork(std::shared_ptr<ThreadWorld> world, std::shared_ptr<Exchange> exchange, size_t side)
      : world_(std::move(world)), exchange_(std::move(exchange)), side_(side) {}
  ~ThreadWork() override {
    if (!waited_) exchange_->abandon(side_);
  }
  void wait(Stream& stream) override {
    exchange_->wait(side_, stream);
    waited_ = true;
  }

 private:
  std::shared_ptr<ThreadWorld> world_;  // outlives the exchange
  std::shared_ptr<Exchange> exchange_;
  size_t side_;
  bool waited_ = false;
};

class ThreadCommunicator final : public CheckedCommunicator {
 public:
  ThreadCommunicator(Member self, std::shared_ptr<ThreadGroup> group)
      : CheckedCommunicator(std::move(self)),
        group_(std::move(group)),
        sent_(group_->world_ranks.size()),
        received_(group_->world_ranks.size()) {}

  std::unique_ptr<Communicator> split(int color, int key, std::string name) override {
    const auto side = static_cast<size_t>(rank());
    const Operation operation{
        .kind = OperationKind::split, .what = "split", .step = current_step()};
    const auto exchange = meet(operation);
    Stream stream;
    exchange->join(side, self(), operation, stream, {.color = color, .key = key, .name = name});
    exchange->wait(side, stream);
    const ThreadSplit& mine = exchange->split(side);
    if (!mine.group) return nullptr;
    return std::make_unique<ThreadCommunicator>(
        Member{.rank = mine.rank,
               .size = static_cast<int>(mine.group->world_ranks.size()),
               .world_rank = self().world_rank,
               .group = std::move(name),
               .world_ranks = mine.group->world_ranks},
        mine.group);
  }

 private:
  bool moves(Device) const override { return true; }

  Handle start(const Operation& operation, Stream& stream) override {
    delay_at_random(*group_->world, self().world_rank);
    const auto side = is_point_to_point(operation.kind)
                          ? static_cast<size_t>(operation.kind == OperationKind::recv)
                          : static_cast<size_t>(rank());
    const auto exchange = meet(operation);
    exchange->join(side, self(), operation, stream);
    return Handle(std::make_shared<ThreadWork>(group_->world, exchange, side));
  }

  // The exchange that this operation belongs to, by its place in the order of calls.
  std::shared_ptr<Exchange> meet(const Operation& operation) {
    const std::lock_guard lock(group_->world->mutex);
    const ThreadGroup::Key key = next_key(operation);
    ThreadGroup::Open& open = group_->open[key];
    std::vector<int> sides = group_->world_ranks;
    if (is_point_to_point(operation.kind))
      sides = {group_->world_ranks[static_cast<size_t>(std::get<0>(key))],
               group_->world_ranks[static_cast<size_t>(std::get<1>(key))]};
    if (!open.exchange) open.exchange = std::make_shared<Exchange>(*group_->world, sides);
    auto exchange = open.exchange;
    if (++open.met == sides.size()) group_->open.erase(key);
    return exchange;
  }

  ThreadGroup::Key next_key(const Operation& operation) {
    const auto peer = static_cast<size_t>(operation.peer);
    if (operation.kind == OperationKind::send) return {rank(), operation.peer, sent_[peer]++};
    if (operation.kind == OperationKind::recv) return {operation.peer, rank(), received_[peer]++};
    return {-1, -1, collectives_++};
  }

  std::shared_ptr<ThreadGroup> group_;
  uint64_t collectives_ = 0;
  std::vector<uint64_t> sent_, received_;  // messages so far, by peer
};

void run_rank(const std::shared_ptr<ThreadGroup>& group, int rank,
              const std::function<void(Communicator&)>& body) {
  ThreadWorld& world = *group->world;
  set_thread_label(fmt::format("rank {}", rank));
  try {
    ThreadCommunicator communicator({.rank = rank,
                                     .size = static_cast<int>(group->world_ranks.size()),
                                     .world_rank = rank,
                                     .group = group->name,
                                     .world_ranks = group->world_ranks},
                                    group);
    communicator.set_control(make_control_plane(communicator.split(0, rank, "control")));
    body(communicator);
  } catch (const std::exception& error) {
    world.fail_with(std::current_exception(),
                    fmt::format("world rank {} failed: {}", rank, error.what()));
  } catch (...) {
    world.fail_with(std::current_exception(), fmt::format("world rank {} failed", rank));
  }
  const std::lock_guard lock(world.mutex);
  world.ended[static_cast<size_t>(rank)] = true;
  world.changed.notify_all();
}

}  // namespace

void run_thread_ranks(int ranks, const ThreadRanksOptions& options,
                      const std::function<void(Communicator& world)>& body) {
  check(ranks >= 1, "communicator", "{} thread ranks; at least 1 is needed", ranks);
  auto group = std::make_shared<ThreadGroup>();
  group->world = std::make_shared<ThreadWorld>(ranks, options);
  group->name = "world";
  for (int rank = 0; rank < ranks; ++rank) group->world_ranks.push_back(rank);
  {
    std::vector<std::jthread> threads;
    threads.reserve(static_cast<size_t>(ranks));
    for (int rank = 0; rank < ranks; ++rank)
      threads.emplace_back([&group, rank, &body] { run_rank(group, rank, body); });
  }
  if (group->world->error) std::rethrow_exception(group->world->error);
}

}  // namespace switchyard
