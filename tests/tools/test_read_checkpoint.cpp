// docs/checkpoint-format.md says enough: read_checkpoint.py, written by it alone, finds in
// checkpoints what the program finds, to the bit. Where no Python has h5py the test is skipped.
#include <gtest/gtest.h>

#include <cstdio>
#include <cstdlib>

#include "core/files.h"
#include "parallel/checkpoint/checkpoint.h"
#include "parallel/checkpoint/state_groups.h"
#include "tests/support/temporary_folder.h"
#include "tests/tools/paths.h"

namespace fs = std::filesystem;

namespace switchyard::test {
namespace {

// Debian's, which has h5py as a package, or another one.
std::string python_with_h5py() {
  for (const std::string python : {"/usr/bin/python3", "python3"}) {
    if (std::system((python + " -c 'import h5py' 2>/dev/null").c_str()) == 0) return python;
  }
  return {};
}

using Tensors = std::map<std::string, std::vector<char>>;

// Of each layer's q, k and v, by names: of each group its part of q, of k and of v.
std::string merged_qkv(const Tensors& tensors, int groups) {
  std::string all;
  for (const auto& [name, q] : tensors) {
    const auto at = name.find(".attention.q.");
    if (at == std::string::npos) continue;
    const auto sibling = [&, name = name](char part) {
      return tensors.at(std::string(name).replace(at + 11, 1, 1, part));
    };
    const std::vector<char> k = sibling('k'), v = sibling('v');
    for (size_t group = 0; group < static_cast<size_t>(groups); ++group) {
      for (const auto* part : {&q, &k, &v}) {
        const size_t bytes = part->size() / static_cast<size_t>(groups);
        all.append(part->data() + group * bytes, bytes);
      }
    }
  }
  return all;
}

class ReadByOthers : public testing::Test {
 protected:
  fs::path at(const std::string& name) const { return folder_.path() / name; }
  // Compares all of a saved step.
  void check(const std::string& run, int64_t step, int groups) {
    const fs::path out = at("out-" + run + std::to_string(step));
    const std::string line = python_with_h5py() + " " READ_CHECKPOINT "/check_checkpoint.py " +
                             SWITCHYARD_PROGRAM " " + at(run).string() + "@" +
                             std::to_string(step) + " " + out.string();
    ASSERT_EQ(std::system(("PYTHONDONTWRITEBYTECODE=1 " + line).c_str()), 0) << line;
    const Tensors tensors = tensors_of(checkpoint_of(at(run), step));
    std::string all;
    for (const auto& [name, bytes] : tensors) all.append(bytes.data(), bytes.size());
    EXPECT_TRUE(read_file(out / "all") == all);
    const std::string fused = read_file(out / "fused");
    EXPECT_GT(fused.size(), 0U);
    EXPECT_TRUE(fused == merged_qkv(tensors, groups));
    EXPECT_TRUE(read_file(out / "joined") == merged_qkv(tensors, 1));
  }
  bool has(const std::string& run, int64_t step, std::string_view group) const {
    return has_group(CheckpointReader(checkpoint_of(at(run), step)), group);
  }
  std::string options(const std::string& more) const {
    return tiny_path(data_, 6, "--num-layers 2 --save-interval 2 --train-iters 4 " + more);
  }

  TemporaryFolder folder_;
  std::string data_ = make_tokens(folder_.path(), "text", 30'000);
};

TEST_F(ReadByOthers, tensor_and_pipeline_parallel_in_bf16_with_an_average) {
  train(at("run"), options("--bf16 --num-query-groups 2 --swiglu --average ema:beta=0.9,every=1"),
        {.tp = 2, .pp = 2});
  EXPECT_TRUE(has("run", 4, "average/ema"));
  check("run", 4, 2);
  run_well("prune " + at("run").string() + " --keep-moments 1 --yes");
  EXPECT_FALSE(has("run", 2, groups::exp_avg));
  check("run", 2, 2);
  EXPECT_TRUE(has("run", 4, groups::exp_avg));
}

TEST_F(ReadByOthers, data_parallel_in_fp32) {
  train(at("run"), options("--untie-embeddings-and-output-weights"), {.dp = 3});
  check("run", 4, 4);
  run_well("average " + at("run").string() + " --steps 2:4:2 --output " + at("mean").string());
  check("mean", 4, 4);
}

TEST_F(ReadByOthers, compressed) {
  train(at("run"), options("--bf16 --num-query-groups 2"));
  run_well("reshard " + at("run").string() + " " + at("small").string() +
           " --compress --writers 2");
  check("small", 4, 2);
}

TEST_F(ReadByOthers, version_1) {
  const std::string archive = READ_CHECKPOINT "/../golden/paths-1.tar.xz";
  ASSERT_EQ(std::system(("tar xf " + archive + " -C " + folder_.path().string()).c_str()), 0);
  const auto steps = saved_steps(at("paths/main"));
  ASSERT_FALSE(steps.empty());
  const CheckpointReader reader(checkpoint_of(at("paths/main"), steps.back()));
  EXPECT_EQ(reader.info().format_version, 1);
  fs::create_symlink("paths/main", at("main"));
  check("main", steps.back(), 2);
}

}  // namespace
}  // namespace switchyard::test

int main(int argc, char** argv) {
  testing::InitGoogleTest(&argc, argv);
  if (switchyard::test::python_with_h5py().empty()) {
    std::puts("there is no h5py here: Debian has it as the package python3-h5py");
    return 77;
  }
  return RUN_ALL_TESTS();
}
