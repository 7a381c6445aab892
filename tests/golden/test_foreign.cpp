// Folders that transformers wrote (make_foreign.py): their logits as we read them, their tensors as
// our maps have them, their config.json read and written.
#include <gmock/gmock.h>

#include <cmath>
#include <cstring>
#include <set>

#include "core/error.h"
#include "core/files.h"
#include "model/exchange/foreign_config.h"
#include "model/exchange/reference_logits.h"
#include "model/exchange/weight_map.h"
#include "parallel/checkpoint/safetensors.h"

namespace switchyard {
namespace {

namespace fs = std::filesystem;

template <class T>
std::vector<T> numbers(const fs::path& file) {
  const std::string bytes = read_file(file);
  std::vector<T> values(bytes.size() / sizeof(T));
  std::memcpy(values.data(), bytes.data(), values.size() * sizeof(T));
  return values;
}

class Foreign : public testing::TestWithParam<const char*> {
 protected:
  fs::path folder() const { return fs::path(GOLDEN_FOLDER) / "foreign" / GetParam(); }
  ForeignConfig config() const {
    return read_foreign_config(read_file(folder() / "config.json"), "config.json");
  }
};

TEST_P(Foreign, LogitsAreThoseOfTransformers) {
  const std::vector<float> theirs = numbers<float>(folder() / "logits.f32");
  const std::vector<float> ours =
      reference_logits(folder(), numbers<int32_t>(folder() / "tokens.i32"));
  ASSERT_EQ(ours.size(), theirs.size());
  double difference = 0;
  for (size_t i = 0; i < ours.size(); ++i) {
    difference = std::max<double>(difference, std::abs(ours[i] - theirs[i]));
  }
  EXPECT_LT(difference, 1e-5);
}

TEST_P(Foreign, MapsNameAllTensorsOfTheFiles) {
  const ForeignConfig foreign = config();
  const SafetensorsFolder files(folder());
  std::set<std::string> mapped;
  for (const WeightMap& map : weight_maps(foreign.architecture, foreign.config)) {
    const SafetensorsEntry* entry = files.find(map.theirs);
    ASSERT_NE(entry, nullptr) << map.theirs;
    EXPECT_EQ(Shape(entry->shape), map.their_shape) << map.theirs;
    mapped.insert(map.theirs);
  }
  for (const SafetensorsEntry& entry : files.tensors()) {
    EXPECT_TRUE(mapped.contains(entry.name)) << entry.name;
  }
}

TEST_P(Foreign, TheConfigurationSurvivesOurWriting) {
  const ForeignConfig foreign = config();
  const std::string written = write_foreign_config(
      foreign.config, foreign.architecture, DType::bf16, read_file(folder() / "config.json"));
  const ForeignConfig again = read_foreign_config(written, "written");
  EXPECT_EQ(again.config, foreign.config);
  EXPECT_EQ(again.architecture, foreign.architecture);
  EXPECT_THAT(written, testing::HasSubstr("\"eos_token_id\": 1"));
}

INSTANTIATE_TEST_SUITE_P(Models, Foreign,
                         testing::Values("gpt2", "gpt2-untied", "neox", "neox-serial", "llama",
                                         "llama-biases", "mistral", "qwen2"),
                         [](const auto& model) {
                           std::string name = model.param;
                           std::replace(name.begin(), name.end(), '-', '_');
                           return name;
                         });

}  // namespace
}  // namespace switchyard
