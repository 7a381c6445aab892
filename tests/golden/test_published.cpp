#include <gtest/gtest.h>
#include <omp.h>

#include <mutex>

#include "core/files.h"
#include "launch/engine/load_weights.h"
#include "launch/exchange/export.h"
#include "launch/exchange/import.h"
#include "launch/path/run_folder.h"
#include "model/exchange/reference_logits.h"
#include "model/exchange/streamed_logits.h"
#include "model/parameters.h"
#include "parallel/checkpoint/safetensors.h"
#include "parallel/comm/communicators.h"
#include "tests/golden/golden_trainer.h"
#include "tests/golden/published_file.h"
#include "tests/support/temporary_folder.h"

namespace switchyard::test {
namespace {

namespace fs = std::filesystem;

class Published : public testing::TestWithParam<std::string> {
 protected:
  Published() : golden(read_published(GetParam())) {
    write_published(golden, folder.path() / "hf");
    import_model({.from = folder.path() / "hf", .to = folder.path() / "run"});
  }
  RunFolder run() const { return RunFolder(folder.path() / "run"); }
  CheckpointReader reader() const { return CheckpointReader(run().checkpoint(0).folder); }

  TemporaryFolder folder;
  PublishedGolden golden;
};

// Over all tokens of the prompt and the columns that the golden file has.
double largest_difference(const PublishedGolden& golden, const std::vector<float>& logits) {
  const size_t vocabulary = logits.size() / golden.prompt.size();
  double largest = 0;
  for (size_t row = 0; row < golden.prompt.size(); ++row) {
    for (size_t i = 0; i < golden.columns.size(); ++i) {
      const auto column = static_cast<size_t>(golden.columns[i]);
      const double apart = logits[row * vocabulary + column] - golden.logits[row][i];
      largest = std::max(largest, std::abs(apart));
    }
  }
  return largest;
}

TEST_P(Published, LogitsAreThoseOfTransformers) {
  const auto checkpoint = reader();
  Stream stream;
  const auto ours = streamed_logits(
      run().read().model, golden.prompt,
      [&](std::span<const Parameter> parameters) { load_weights(parameters, checkpoint, stream); });
  EXPECT_LT(largest_difference(golden, ours), 1e-5);
  EXPECT_LT(largest_difference(golden, reference_logits(folder.path() / "hf", golden.prompt)),
            1e-5);
}

// transformers' bytes, name by name.
void expect_same_tensors(const PublishedGolden& golden, const fs::path& folder) {
  const SafetensorsFolder files(folder);
  ASSERT_EQ(files.tensors().size(), golden.tensors.size());
  for (const auto& tensor : golden.tensors) {
    const auto* entry = files.find(tensor.name);
    ASSERT_NE(entry, nullptr) << tensor.name;
    EXPECT_EQ(entry->dtype, tensor.dtype) << tensor.name;
    EXPECT_EQ(entry->shape, tensor.shape) << tensor.name;
    const auto expected = published_bytes(tensor);
    ASSERT_EQ(static_cast<size_t>(entry->bytes), expected.size());
    EXPECT_TRUE(std::equal(expected.begin(), expected.end(), files.data(*entry))) << tensor.name;
  }
}

TEST_P(Published, GoesOutAsItCameIn) {
  const fs::path whole = folder.path() / "whole", sharded = folder.path() / "sharded";
  export_model({.from = run().folder().string(), .to = whole});
  expect_same_tensors(golden, whole);
  export_model({.from = run().folder().string() + "@0", .to = sharded, .max_shard_bytes = 100'000});
  expect_same_tensors(golden, sharded);
  EXPECT_TRUE(fs::exists(sharded / "model.safetensors.index.json"));
  import_model({.from = sharded, .to = folder.path() / "again"});
  EXPECT_EQ(RunFolder(folder.path() / "again").read().model, run().read().model);
}

// The one that is here as transformers wrote its files, in shards.
TEST(PublishedFiles, AreReadAndWrittenAsTransformersDoes) {
  const TemporaryFolder folder;
  const fs::path files = fs::path(PUBLISHED_FOLDER) / "qwen2";
  const fs::path run = folder.path() / "run", out = folder.path() / "out";
  import_model({.from = files, .to = run});
  export_model({.from = run.string(), .to = out, .max_shard_bytes = 100'000});
  expect_same_tensors(read_published("qwen2"), files);
  expect_same_tensors(read_published("qwen2"), out);
}

// The weights as the trainer wants them: whole tensors in fp32.
GoldenFile training(const PublishedGolden& golden, const RunFolder& run,
                    const CheckpointReader& reader) {
  const auto model = run.read().model;
  GoldenFile file = training_of(golden, model.vocabulary);
  file.config = model.to_json();
  Stream stream;
  for (Parameter& p : make_parameters(model, {}, 0, {0, model.layers, true, true})) {
    auto& values = file.weights[p.name];
    values.resize(static_cast<size_t>(p.global.elements()));
    p.local = p.global;
    p.weight = Tensor(values.data(), DType::f32, p.local);
    load_weights({&p, 1}, reader, stream);
  }
  return file;
}

std::vector<double> train(const GoldenFile& file, const Layout& layout) {
  std::vector<double> losses(static_cast<size_t>(file.steps), 0.0);
  std::mutex mutex;
  run_thread_ranks(layout.ranks(), {}, [&](Communicator& world) {
    omp_set_num_threads(1);
    GoldenTrainer trainer(file, layout, Device::cpu, DType::f32, world);
    for (int64_t step = 1; step <= file.steps; ++step) {
      const double loss = trainer.step(step);
      const std::lock_guard lock(mutex);
      losses[static_cast<size_t>(step - 1)] += loss;
    }
  });
  return losses;
}

TEST_P(Published, TrainsAsTransformersDoes) {
  const auto checkpoint = reader();
  const GoldenFile file = training(golden, run(), checkpoint);
  const bool splits = run().read().model.heads % 2 == 0;
  for (const Layout& layout : {Layout{}, Layout{.tp = 2}, Layout{.dp = 2, .pp = 2}}) {
    if (layout.tp == 2 && !splits) continue;  // 7 and 3 heads
    const auto losses = train(file, layout);
    for (size_t i = 0; i < losses.size(); ++i) {
      EXPECT_NEAR(losses[i], golden.losses[i], 1e-4)
          << "step " << i + 1 << " on " << layout.to_string();
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Models, Published, testing::ValuesIn(published_names()),
                         [](const auto& instance) { return instance.param; });

}  // namespace
}  // namespace switchyard::test
