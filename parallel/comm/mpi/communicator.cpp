#include "parallel/comm/mpi/communicator.h"

#include <atomic>

#include "parallel/comm/checked_communicator.h"
#include "parallel/comm/culprits.h"
#include "parallel/comm/exchange_plan.h"
#include "parallel/comm/mpi/call_limit.h"
#include "parallel/comm/mpi/native.h"

namespace switchyard {

namespace {

class MpiWork final : public Handle::Work {
 public:
  explicit MpiWork(std::shared_ptr<MpiTask> task) : task_(std::move(task)) {}
  void wait(Stream&) override { task_->wait(); }

 private:
  std::shared_ptr<MpiTask> task_;
};

class MpiCommunicator final : public CheckedCommunicator {
 public:
  explicit MpiCommunicator(std::shared_ptr<MpiGroup> group)
      : CheckedCommunicator(group->self), group_(std::move(group)) {}

  std::unique_ptr<Communicator> split(int color, int key, std::string name) override {
    barrier({"split"});  // so that a rank that does not come is named
    const auto absent = [this] { return describe_absent(self().world_rank, self().world_ranks); };
    const CallLimit limit(fmt::format("{}: MPI_Comm_split", describe(self())), group_->timeout,
                          CallLimit::Phase::later, absent);
    auto native = std::make_unique<MpiGroup::Native>();
    check_mpi(
        MPI_Comm_split(group_->native->comm, color < 0 ? MPI_UNDEFINED : color, key, &native->comm),
        "MPI_Comm_split");
    if (native->comm == MPI_COMM_NULL) return nullptr;
    return make_communicator(std::move(native), std::move(name), self().world_rank, group_->engine,
                             group_->timeout);
  }

  static std::unique_ptr<MpiCommunicator> make_communicator(
      std::unique_ptr<MpiGroup::Native> native, std::string name, int world_rank,
      ProgressEngine& engine, std::chrono::milliseconds timeout) {
    Member self{.world_rank = world_rank, .group = std::move(name)};
    check_mpi(MPI_Comm_set_errhandler(native->comm, MPI_ERRORS_RETURN), "MPI_Comm_set_errhandler");
    check_mpi(MPI_Comm_rank(native->comm, &self.rank), "MPI_Comm_rank");
    check_mpi(MPI_Comm_size(native->comm, &self.size), "MPI_Comm_size");
    self.world_ranks.resize(static_cast<size_t>(self.size));
    check_mpi(
        MPI_Allgather(&world_rank, 1, MPI_INT, self.world_ranks.data(), 1, MPI_INT, native->comm),
        "MPI_Allgather");
    return std::make_unique<MpiCommunicator>(
        std::make_shared<MpiGroup>(std::move(native), self, engine, timeout));
  }

 private:
  Handle start(const Operation& operation, Stream&) override {
    auto task = std::make_shared<MpiTask>(group_, operation);
    const bool collective = !is_point_to_point(operation.kind);
    plan_exchange(operation, self(), collective ? collectives_++ : 0, *task);
    group_->engine.start(task);
    return Handle(std::make_shared<MpiWork>(std::move(task)));
  }

  std::shared_ptr<MpiGroup> group_;
  std::atomic<uint64_t> collectives_ = 0;
};

}  // namespace

std::unique_ptr<Communicator> make_mpi_world(ProgressEngine& engine,
                                             std::chrono::milliseconds timeout) {
  auto native = std::make_unique<MpiGroup::Native>();
  check_mpi(MPI_Comm_dup(MPI_COMM_WORLD, &native->comm), "MPI_Comm_dup");
  int rank = 0;
  check_mpi(MPI_Comm_rank(native->comm, &rank), "MPI_Comm_rank");
  auto world =
      MpiCommunicator::make_communicator(std::move(native), "world", rank, engine, timeout);
  world->set_control(make_control_plane(world->split(0, rank, "control")));
  return world;
}

}  // namespace switchyard
