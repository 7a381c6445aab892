// A checkpoint of many tensors on many shards is opened, read in parts and verified in structure.
// With TENSORS SHARDS CUTS on its command line the program prints time and memory of each at that
// size (docs/benchmarks.md has the figures of 10000 1024 16).
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <cstdio>
#include <ctime>
#include <fstream>
#include <functional>
#include <optional>

#include "core/files.h"
#include "parallel/checkpoint/master.h"
#include "tests/parallel/checkpoint/checkpoint_cases.h"
#include "tests/parallel/checkpoint/sparse_checkpoint.h"
#include "tests/support/temporary_folder.h"

namespace switchyard::test {
namespace {

// The boxes that rank `rank` of `ranks` loads: a strip of every tensor across its cuts.
class LoadPlan {
 public:
  LoadPlan(const SparseSize& size, int rank, int ranks) {
    for (int64_t number = 0; number < size.tensors; number += stride(size)) {
      const StoredTensor tensor = sparse_tensor(size, number).tensor;
      const int axis = number % 3 == 2 ? 0 : 1;
      Box box = Box::whole(tensor.shape);
      box.extent[axis] /= ranks;
      box.offset[axis] = rank * box.extent[axis];
      memory_.emplace_back(static_cast<size_t>(box.extent.elements()), 1.0F);
      sharded_.push_back(
          {tensor.name, tensor.shape, tensor.dtype, {{box, memory_.back().data()}}, {}});
    }
  }
  const std::vector<ShardedTensor>& sharded() const { return sharded_; }
  bool has_only_zeros() const {
    return std::ranges::all_of(memory_, [](const auto& part) {
      return std::ranges::all_of(part, [](float value) { return value == 0; });
    });
  }

 private:
  static int64_t stride(const SparseSize& size) {
    return std::max<int64_t>(1, size.tensors / 50) | 1;  // odd: cuts of both kinds
  }
  std::vector<std::vector<float>> memory_;
  std::vector<ShardedTensor> sharded_;
};

// All but the elements: every shard's datasets and the master's mappings.
void verify_structure(const CheckpointReader& reader) {
  size_t pieces = 0;
  for (const IndexedTensor& entry : reader.index().tensors) pieces += entry.pieces.size();
  int64_t read = 0;
  reader.verify_rest(std::vector<int32_t>(pieces, 1), 0, 1, [&](int64_t bytes) { read += bytes; });
  EXPECT_EQ(read, 0);
}

TEST(ManyShards, AreOpenedReadAndVerified) {
  const TemporaryFolder folder;
  const SparseSize size;
  const auto step = write_sparse_checkpoint(folder.path(), size);
  const CheckpointReader reader(step);
  EXPECT_EQ(std::ssize(reader.tensors()), size.tensors);
  EXPECT_EQ(std::ssize(reader.index().shards), size.shards);
  LoadPlan plan(size, 2, 4);
  reader.read_and_check(plan.sharded());
  EXPECT_TRUE(plan.has_only_zeros());
  verify_structure(reader);
  reader.verify();
}

TEST(ManyShards, WithOneThatIsAnothersAreRefused) {
  const TemporaryFolder folder;
  const SparseSize size{.tensors = 20, .shards = 12, .cuts = 4};
  const auto step = write_sparse_checkpoint(folder.path() / "a", size);
  const auto other = write_sparse_checkpoint(folder.path() / "b", size);
  const auto name = std::filesystem::path("shards") / "rank-00007.h5";
  std::filesystem::copy_file(other / name, step / name,
                             std::filesystem::copy_options::overwrite_existing);
  EXPECT_THAT(
      error_of([&] { CheckpointReader reader(step); }),
      testing::AllOf(testing::HasSubstr("rank-00007.h5"), testing::HasSubstr("belongs to")));
}

// All ranks that load open as many shards together as there are, however many they are.
TEST(ManyShards, AreCheckedByOneOfManyRanksEach) {
  const TemporaryFolder folder;
  const SparseSize size{.tensors = 20, .shards = 12, .cuts = 4};
  const auto step = write_sparse_checkpoint(folder.path(), size);
  std::filesystem::remove(step / "shards" / "rank-00007.h5");
  const auto opened_by = [&](int rank) {
    return error_of([&] { CheckpointReader reader(step, rank, 5); });
  };
  for (const int rank : {0, 1, 3, 4}) EXPECT_EQ(opened_by(rank), "");
  EXPECT_THAT(opened_by(2), testing::HasSubstr("rank-00007.h5"));
  const CheckpointReader reader(step, 0, 5);
  EXPECT_THAT(error_of([&] { reader.verify(); }), testing::HasSubstr("rank-00007.h5"));
}

double peak_gib() {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);) {
    if (line.starts_with("VmHWM:")) return std::stod(line.substr(6)) / (1 << 20);
  }
  return 0;
}

void measure(const char* what, const std::function<void()>& body) {
  std::ofstream("/proc/self/clear_refs") << "5";  // the peak is that of what follows
  const auto begin = std::chrono::steady_clock::now();
  const std::clock_t cpu = std::clock();
  body();
  const std::chrono::duration<double> time = std::chrono::steady_clock::now() - begin;
  std::printf("%-38s %8.2f s %8.2f s of a core  peak %6.3f GiB\n", what, time.count(),
              static_cast<double>(std::clock() - cpu) / CLOCKS_PER_SEC, peak_gib());
  std::fflush(stdout);
}

void measure_all(const SparseSize& size) {
  const TemporaryFolder folder;
  std::filesystem::path step;
  measure("make it", [&] { step = write_sparse_checkpoint(folder.path(), size); });
  std::printf("master: %.1f MB\n",
              static_cast<double>(std::filesystem::file_size(step / "checkpoint.h5")) / 1e6);
  measure("read the master", [&] { read_master(step); });
  std::optional<CheckpointReader> reader;
  measure("open it", [&] { reader.emplace(step); });
  measure("make the plan, read 50 tensors' boxes", [&] {
    const LoadPlan plan(size, 3, 8);
    reader->read_and_check(plan.sharded());
  });
  measure("verify mappings of the master", [&] { verify_master(step, reader->index()); });
  measure("verify the structure of all", [&] { verify_structure(*reader); });
  measure("write the master again", [&] { replace_master(step, reader->info(), reader->index()); });
}

}  // namespace
}  // namespace switchyard::test

int main(int argc, char** argv) {
  testing::InitGoogleTest(&argc, argv);
  if (argc != 4) return RUN_ALL_TESTS();
  switchyard::test::measure_all({.tensors = std::stoll(argv[1]),
                                 .shards = std::stoi(argv[2]),
                                 .cuts = std::stoi(argv[3]),
                                 .piece_elements = int64_t{64} << 10});
}
