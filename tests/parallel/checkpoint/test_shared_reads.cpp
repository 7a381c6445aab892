#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <csignal>
#include <fstream>

#include "core/half.h"
#include "parallel/checkpoint/shared_reads.h"
#include "parallel/comm/communicators.h"
#include "parallel/comm/rendezvous/store.h"
#include "tests/parallel/checkpoint/checkpoint_cases.h"
#include "tests/parallel/comm/rank_processes.h"
#include "tests/support/temporary_folder.h"

// Ranks of one machine that read parts of the same pieces read each byte once, and find the same
// bits as alone; whoever fails, leaves or is killed, the others read all.
namespace switchyard {
namespace {

using namespace test;
namespace fs = std::filesystem;
using testing::AllOf;
using testing::HasSubstr;

// Pieces of several windows, which begin anywhere in their files.
std::vector<TensorCase> cut_by(Cut cut) {
  return {{"/model/long", {411, 3001}, DType::f32, cut, {}},
          {"/model/odd", {777}, DType::bf16, cut, {}},
          {"/model/short", {6007, 131}, DType::f32, cut, {}},
          {"/model/deep", {7, 3, 40'009}, DType::bf16, cut == Cut::rows ? cut : Cut::columns, {}},
          {"/model/small", {40, 30}, DType::f64, cut, {}}};
}

struct Outcome {
  std::vector<int32_t> checked;
  std::string different;
  int64_t told = 0;  // bytes
};

Outcome read(const fs::path& step, const std::vector<TensorCase>& wanted, int ranks, int rank,
             ControlPlane* node) {
  Outcome outcome;
  LocalPieces own(wanted, ranks, rank);
  const CheckpointReader reader(step, rank, ranks);
  outcome.checked = reader.read_and_check(
      own.sharded(), [&](int64_t bytes) { outcome.told += bytes; }, ReadAs::stored, node);
  outcome.different = own.first_difference(1);
  return outcome;
}

// Runs body(rank, node) on threads.
void on_threads(int ranks, const std::function<void(int rank, ControlPlane& node)>& body) {
  run_thread_ranks(ranks, {}, [&](Communicator& world) { body(world.rank(), world.control()); });
}

class SharedReading : public testing::Test {
 protected:
  void save_by(Cut cut, int ranks) {
    folder_.emplace();
    tensors_ = cut_by(cut);
    save(folder_->path(), 1, tensors_, ranks);
  }
  fs::path step() const { return checkpoint_folder(folder_->path(), 1); }
  // The jobs of one rank that wants all by this cut.
  static std::vector<ReadJob> jobs_of(const CheckpointReader& reader, LocalPieces& own) {
    std::vector<ReadJob> jobs;
    for (const IndexedTensor& entry : reader.index().tensors) {
      for (const ShardedTensor& tensor : own.sharded()) {
        if (tensor.name == entry.tensor.name) jobs.push_back({&entry, {&tensor}});
      }
    }
    return jobs;
  }

  std::optional<TemporaryFolder> folder_;
  std::vector<TensorCase> tensors_;
};

TEST_F(SharedReading, GivesTheSameBitsAndChecksUnderEveryLayout) {
  constexpr int ranks = 4;
  for (const Cut saved : {Cut::rows, Cut::columns, Cut::columns_then_flat}) {
    save_by(saved, 3);
    for (const Cut cut : {Cut::columns, Cut::rows, Cut::flat, Cut::columns_then_flat}) {
      const auto wanted = cut_by(cut);
      std::vector<Outcome> alone(ranks), together(ranks);
      for (int rank = 0; rank < ranks; ++rank)
        alone[static_cast<size_t>(rank)] = read(step(), wanted, ranks, rank, nullptr);
      on_threads(ranks, [&](int rank, ControlPlane& node) {
        together[static_cast<size_t>(rank)] = read(step(), wanted, ranks, rank, &node);
      });
      for (size_t rank = 0; rank < ranks; ++rank) {
        EXPECT_EQ(together[rank].different, "");
        EXPECT_EQ(together[rank].checked, alone[rank].checked);
        EXPECT_EQ(together[rank].told, alone[rank].told);
      }
    }
  }
}

// Every rank has all of it.
TEST_F(SharedReading, GivesReplicasAndWidenedOnesAll) {
  save_by(Cut::rows, 2);
  constexpr int ranks = 3;
  const int64_t rows = 6007, columns = 131;
  std::vector<bf16> stored;
  for (int64_t i = 0; i < rows * columns; ++i) stored.emplace_back(static_cast<float>(i % 251));
  CheckpointStreamWriter writer(folder_->path(), info_of_step(2));
  writer.add({"/model/w", {rows, columns}, DType::bf16}, stored.data());
  writer.finish();
  on_threads(ranks, [&](int rank, ControlPlane& node) {
    const Outcome whole = read(step(), tensors_, 1, 0, &node);
    EXPECT_EQ(whole.different, "");
    std::vector<float> out(stored.size());
    const std::vector<ShardedTensor> tensors = {{"/model/w",
                                                 {rows, columns},
                                                 DType::f32,
                                                 {{Box::whole({rows, columns}), out.data()}},
                                                 {},
                                                 Device::cpu}};
    const CheckpointReader reader(checkpoint_folder(folder_->path(), 2), rank, ranks);
    const auto checked = reader.read_and_check(tensors, {}, ReadAs::f32, &node);
    EXPECT_EQ(std::ranges::count(checked, 1), std::ssize(checked));
    for (size_t i = 0; i < out.size(); ++i) ASSERT_EQ(out[i], static_cast<float>(stored[i])) << i;
  });
}

TEST_F(SharedReading, ReadsWhatIsWantedInStripsOnceAndLeavesTheRest) {
  save_by(Cut::rows, 2);
  const CheckpointReader reader(step());
  const auto plan_of = [&](Cut cut, int ranks) {
    std::vector<std::string> wants;
    for (int rank = 0; rank < ranks; ++rank) {
      LocalPieces own(cut_by(cut), ranks, rank);
      wants.push_back(wants_of(reader.index(), jobs_of(reader, own)));
    }
    return plan_shared(reader.index(), wants);
  };
  EXPECT_TRUE(plan_of(Cut::rows, 2).windows.empty());  // each has files of its own
  EXPECT_TRUE(plan_of(Cut::columns, 1).windows.empty());
  const SharedPlan plan = plan_of(Cut::columns, 4);
  int64_t bytes = 0;
  for (const SharedWindow& window : plan.windows) bytes += window.end - window.begin;
  const int64_t tensors = 411 * 3001 * 4 + 6007 * 131 * 4 + 7 * 3 * 40'009 * 2;
  EXPECT_GT(std::ranges::count(plan.pieces, 1), 4);
  EXPECT_GT(bytes, tensors * 9 / 10);
  EXPECT_LT(bytes, tensors * 11 / 10);
  const SharedPlan again = SharedPlan::from_bytes(plan.to_bytes());
  EXPECT_EQ(again.pieces, plan.pieces);
  ASSERT_EQ(again.windows.size(), plan.windows.size());
  EXPECT_EQ(again.windows.back().begin, plan.windows.back().begin);
  EXPECT_EQ(again.windows.back().wanted, plan.windows.back().wanted);
  save(folder_->path(), 2, tensors_, 2);  // another state of an index is never shared
  const CheckpointReader other(checkpoint_folder(folder_->path(), 2));
  LocalPieces first(cut_by(Cut::columns), 2, 0), second(cut_by(Cut::columns), 2, 1);
  const std::vector<std::string> wants = {wants_of(reader.index(), jobs_of(reader, first)),
                                          wants_of(other.index(), jobs_of(other, second))};
  EXPECT_TRUE(plan_shared(reader.index(), wants).windows.empty());
}

TEST_F(SharedReading, FindsADamagedByteByName) {
  save_by(Cut::rows, 3);
  const Box part = boxes_of(Cut::rows, tensors_[0].shape, 3, 1).front();
  const fs::path shard = step() / "shards" / "rank-00001.h5";
  const int64_t begin = find_bytes(shard, expected_bytes(tensors_[0], part, 1));
  ASSERT_GT(begin, 0);
  flip_byte(shard, begin + 12'345);
  std::atomic<int> found = 0;
  on_threads(4, [&](int rank, ControlPlane& node) {
    const std::string problem =
        error_of([&] { read(step(), cut_by(Cut::columns), 4, rank, &node); });
    if (problem.empty()) return;
    ++found;
    EXPECT_THAT(problem,
                AllOf(HasSubstr("rank-00001.h5"), HasSubstr("/model/long"), HasSubstr("checksum")));
  });
  EXPECT_EQ(found, 1);
}

TEST_F(SharedReading, WaitsForNobodyWhoLeaves) {
  save_by(Cut::rows, 3);
  on_threads(4, [&](int rank, ControlPlane& node) {
    if (rank == 2) {
      LocalPieces own(tensors_, 4, rank);
      own.sharded()[1].name = "/model/none";
      const CheckpointReader reader(step(), rank, 4);
      EXPECT_THAT(
          error_of([&] { reader.read_and_check(own.sharded(), {}, ReadAs::stored, &node); }),
          HasSubstr("/model/none is not in"));
      return;
    }
    EXPECT_EQ(read(step(), cut_by(Cut::columns), 4, rank, &node).different, "");
  });
  on_threads(4, [&](int rank, ControlPlane& node) {  // behind the first bytes
    LocalPieces own(cut_by(Cut::columns), 4, rank);
    const auto progress = [&](int64_t) { check(rank != 1, "test", "ended"); };
    const CheckpointReader reader(step(), rank, 4);
    const std::string problem =
        error_of([&] { reader.read_and_check(own.sharded(), progress, ReadAs::stored, &node); });
    EXPECT_THAT(problem, HasSubstr(rank == 1 ? "ended" : ""));
    EXPECT_TRUE(rank == 1 || own.first_difference(1).empty());
  });
}

// Processes that agree through a store. Returns what they say, one after the other.
std::vector<std::string> in_processes(
    int ranks, const std::function<std::string(int rank, ControlPlane& node)>& body) {
  const int port = free_port();
  return run_processes(ranks, [&](int rank) {
    const Store::Options options{.rank = rank, .size = ranks};
    const auto node = make_control_plane(make_tcp_store("127.0.0.1", port, options));
    return body(rank, *node);
  });
}

TEST_F(SharedReading, JoinsProcessesAndOutlivesOneThatIsKilled) {
  save_by(Cut::rows, 3);
  const auto wanted = cut_by(Cut::columns);
  const auto texts = in_processes(4, [&](int rank, ControlPlane& node) {
    {
      LocalPieces own(wanted, 4, rank);
      const CheckpointReader reader(step(), rank, 4);
      const auto jobs = jobs_of(reader, own);
      if (!SharedReads::join(node, reader.index(), jobs)) return std::string("nothing is shared");
    }
    std::string text = read(step(), wanted, 4, rank, &node).different;
    LocalPieces again(wanted, 4, rank);
    const auto progress = [&](int64_t) { rank == 2 ? static_cast<void>(raise(SIGKILL)) : void(); };
    CheckpointReader(step(), rank, 4)
        .read_and_check(again.sharded(), progress, ReadAs::stored, &node);
    text += again.first_difference(1);
    return text.empty() ? std::string("all is right") : text;
  });
  for (size_t rank = 0; rank < texts.size(); ++rank)
    EXPECT_EQ(texts[rank], rank == 2 ? "" : "all is right");
}

TEST_F(SharedReading, SharesNothingWhereOneRankHasNoRoom) {
  save_by(Cut::rows, 3);
  const auto wanted = cut_by(Cut::columns);
  const auto texts = in_processes(3, [&](int rank, ControlPlane& node) {
    LocalPieces own(wanted, 3, rank);
    const CheckpointReader reader(step(), rank, 3);
    const auto jobs = jobs_of(reader, own);
    rlimit usual{};
    getrlimit(RLIMIT_AS, &usual);
    std::ifstream pages("/proc/self/statm");
    rlim_t size = 0;
    pages >> size;
    const rlimit less{size * static_cast<rlim_t>(sysconf(_SC_PAGESIZE)) + (rlim_t{4} << 20),
                      usual.rlim_max};
    if (rank == 1) setrlimit(RLIMIT_AS, &less);
    const bool shared = SharedReads::join(node, reader.index(), jobs) != nullptr;
    setrlimit(RLIMIT_AS, &usual);
    return std::string(shared ? "shared" : "alone");
  });
  EXPECT_EQ(texts, std::vector<std::string>(3, "alone"));
}

}  // namespace
}  // namespace switchyard
