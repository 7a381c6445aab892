// Published models in and out: steps of one model, dtypes, what goes along.
#include <fstream>

#include "launch/exchange/published_model.h"
#include "launch/path/imported.h"
#include "parallel/checkpoint/safetensors.h"
#include "tests/launch/exchange/published_folder.h"

namespace switchyard::test {
namespace {

namespace fs = std::filesystem;

class Convert : public PublishedFolder {
 protected:
  std::vector<int64_t> steps_of(const fs::path& run) const {
    std::vector<int64_t> steps;
    for (const auto& entry : list_checkpoints(RunFolder(run).checkpoints())) {
      steps.push_back(entry.step);
    }
    return steps;
  }
};

std::vector<float> numbers_of(const fs::path& folder, const std::string& name) {
  const SafetensorsFolder files(folder);
  const auto& entry = *files.find(name);
  std::vector<float> numbers;
  for (int64_t i = 0; i < entry.bytes;) {
    const auto* at = files.data(entry) + i;
    if (entry.dtype == "F32") numbers.push_back(*reinterpret_cast<const float*>(at));
    if (entry.dtype == "BF16")
      numbers.push_back(static_cast<float>(*reinterpret_cast<const bf16*>(at)));
    if (entry.dtype == "F16")
      numbers.push_back(static_cast<float>(*reinterpret_cast<const f16*>(at)));
    i += entry.dtype == "F32" ? 4 : 2;
  }
  return numbers;
}

TEST_F(Convert, CheckpointsOfOneModelAreStepsOfOneRun) {
  const fs::path first = publish("gpt_neox_serial"), second = publish("gpt_neox_serial", "b");
  import_model({.from = first, .to = at("run"), .step = 1000});
  import_model({.from = second, .to = at("run"), .step = 2000});
  EXPECT_THAT(steps_of(at("run")), testing::ElementsAre(1000, 2000));
  import_model({.from = second, .to = at("run"), .step = 2000});  // it is there already
  expect_error([&] { import_model({.from = first, .to = at("run"), .step = 2000}); },
               "has step 2000 already, made of other files");
  expect_error([&] { import_model({.from = publish("qwen2"), .to = at("run"), .step = 3000}); },
               "is of another model than");
  EXPECT_THAT(steps_of(at("run")), testing::ElementsAre(1000, 2000));
  export_model({.from = at("run").string() + "@1000", .to = at("out")});
  const char* name = "gpt_neox.embed_in.weight";
  EXPECT_EQ(numbers_of(at("out"), name), numbers_of(first, name));
}

TEST_F(Convert, ARunSaysWhatItWasMadeOf) {
  import_model({.from = publish("qwen2"), .to = at("run"), .step = 7});
  const CheckpointReader reader(RunFolder(at("run")).checkpoint(7).folder);
  const ImportedWeights said = imported_weights_in(reader.info());
  EXPECT_THAT(said.model, testing::EndsWith("/qwen2"));  // of several steps
  EXPECT_EQ(said.architecture, "qwen2");
  ASSERT_EQ(said.files.size(), 2);
  EXPECT_EQ(said.files[0].name, "model.safetensors");
  EXPECT_EQ(said.files[0].bytes,
            static_cast<int64_t>(fs::file_size(at("qwen2") / "model.safetensors")));
  EXPECT_EQ(said.files[0].sha256.size(), 64);
}

TEST_F(Convert, AModelIsCalledByItsFolder) {
  EXPECT_EQ(published_name("models/pythia-160m/", false), "pythia-160m");
  EXPECT_EQ(published_name("models/pythia-160m/step1000", true), "pythia-160m/step1000");
  EXPECT_EQ(published_name("hub/models--EleutherAI--pythia-160m/snapshots/50f5173d", false),
            "EleutherAI/pythia-160m");
}

// The last norm's weights of the file are made NaN.
void spoil(const fs::path& folder) {
  std::fstream file(folder / "model.safetensors", std::ios::in | std::ios::out);
  file.seekp(-96, std::ios::end);  // model.norm.weight: 48 of bf16
  for (int i = 0; i < 96; ++i) file.put(static_cast<char>(0xff));
}

TEST_F(Convert, AStepCountsWhenItWasCompared) {
  const fs::path good = publish("qwen2"), bad = publish("qwen2", "bad");
  spoil(bad);
  import_model({.from = good, .to = at("run"), .step = 1});
  for (int i = 0; i < 2; ++i) {
    expect_error([&] { import_model({.from = bad, .to = at("run"), .step = 2}); },
                 "are not finite");
    EXPECT_THAT(steps_of(at("run")), testing::ElementsAre(1));
  }
  EXPECT_FALSE(fs::exists(at("run") / "unfinished"));
  expect_error([&] { import_model({.from = bad, .to = at("other")}); }, "are not finite");
  EXPECT_FALSE(fs::exists(at("other")));
}

TEST_F(Convert, StepsOfOneRunAreAlike) {
  const fs::path first = publish("qwen2"), second = publish("qwen2", "b");
  import_model({.from = first, .to = at("run"), .step = 1, .sequence_length = 16});
  expect_error(
      [&] { import_model({.from = second, .to = at("run"), .step = 2, .sequence_length = 32}); },
      "--seq-length 32, but");
  write_file_atomically(second / "tokenizer.json", "{}");
  expect_error([&] { import_model({.from = second, .to = at("run"), .step = 2}); },
               "has another tokenizer than");
  EXPECT_THAT(steps_of(at("run")), testing::ElementsAre(1));
}

TEST_F(Convert, AnotherDtypeRoundsToNearest) {
  const fs::path from = publish("gpt2_seven_heads");
  import_model({.from = from, .to = at("run"), .dtype = DType::bf16});
  export_model({.from = at("run").string(), .to = at("same")});
  export_model({.from = at("run").string(), .to = at("wide"), .dtype = DType::f32});
  const char* name = "transformer.h.1.mlp.c_fc.weight";
  auto expected = numbers_of(from, name);
  for (float& number : expected) number = static_cast<float>(bf16(number));
  EXPECT_EQ(numbers_of(at("same"), name), expected);
  EXPECT_EQ(numbers_of(at("wide"), name), expected);
  EXPECT_EQ(SafetensorsFolder(at("same")).find(name)->dtype, "BF16");
  EXPECT_EQ(SafetensorsFolder(at("wide")).find(name)->dtype, "F32");
}

TEST_F(Convert, MixedDtypesStayAsTheyAre) {
  const auto change = [](PublishedGolden& golden) {
    for (auto& tensor : golden.tensors) {
      if (tensor.name.find("norm") != std::string::npos) tensor.dtype = "F32";
    }
  };
  const fs::path from = publish("llama_scaled", "mixed", change);
  import_model({.from = from, .to = at("run")});
  export_model({.from = at("run").string(), .to = at("out")});
  const SafetensorsFolder before(from), after(at("out"));
  for (const auto& entry : before.tensors()) {
    EXPECT_EQ(after.find(entry.name)->dtype, entry.dtype) << entry.name;
  }
}

TEST_F(Convert, ATokenizerGoesAlong) {
  const fs::path from = publish("qwen2");
  write_file_atomically(from / "tokenizer.json", "{\"model\": 1}");
  write_file_atomically(from / "tokenizer_config.json", "{}");
  write_file_atomically(from / "generation_config.json", "{\"eos_token_id\": [2, 3]}");
  import_model({.from = from, .to = at("run")});
  export_model({.from = at("run").string(), .to = at("out")});
  for (const char* name : {"tokenizer.json", "tokenizer_config.json", "generation_config.json"}) {
    EXPECT_EQ(read_file(at("out") / name), read_file(from / name)) << name;
  }
  const Json config = parse_json(read_file(at("out") / "config.json"));
  EXPECT_EQ(config.at("eos_token_id"), 2);
  make_folder(at("other"));
  write_file_atomically(at("other") / "tokenizer.model", "pieces");
  export_model({.from = at("run").string(), .to = at("out2"), .tokenizer = at("other")});
  EXPECT_FALSE(fs::exists(at("out2") / "tokenizer.json"));
  EXPECT_EQ(read_file(at("out2") / "tokenizer.model"), "pieces");
}

TEST_F(Convert, CopiesAndBuffersOfOlderFilesAreLeftOut) {
  const auto change = [](PublishedGolden& golden) {
    golden.tensors.push_back({"h.0.attn.bias", "U8", {1, 1, 40, 40}});
    golden.tensors.push_back({"h.0.attn.masked_bias", "F32", {}});
    for (auto& tensor : golden.tensors) {
      if (tensor.name.starts_with("transformer.")) tensor.name.erase(0, 12);
    }
  };
  const fs::path from = publish("gpt2_seven_heads", "old", change);
  import_model({.from = from, .to = at("run")});
  export_model({.from = at("run").string(), .to = at("out")});
  EXPECT_EQ(SafetensorsFolder(at("out")).tensors().size(),
            SafetensorsFolder(from).tensors().size() - 2);
  EXPECT_EQ(numbers_of(at("out"), "transformer.wpe.weight"), numbers_of(from, "wpe.weight"));
}

TEST_F(Convert, WhatAKilledOneLeftIsReplaced) {
  import_model({.from = publish("qwen2"), .to = at("run")});
  fs::copy(at("qwen2"), at(".out.unfinished"));
  write_file_atomically(at(".out.unfinished") / "model-00001-of-00002.safetensors", "half");
  export_model({.from = at("run").string(), .to = at("out")});
  EXPECT_EQ(SafetensorsFolder(at("out")).files().size(), 1);
  EXPECT_FALSE(fs::exists(at("out") / "model-00001-of-00002.safetensors"));
  EXPECT_FALSE(fs::exists(at(".out.unfinished")));
}

TEST_F(Convert, LittleMemoryMakesTheSame) {
  const fs::path from = publish("gpt2_vocabulary");
  import_model({.from = from, .to = at("run"), .memory_bytes = 4096, .compares = false});
  export_model(
      {.from = at("run").string(), .to = at("out"), .memory_bytes = 4096, .compares = false});
  const SafetensorsFolder before(from);
  for (const auto& entry : before.tensors()) {
    EXPECT_EQ(numbers_of(at("out"), entry.name), numbers_of(from, entry.name)) << entry.name;
  }
}

}  // namespace
}  // namespace switchyard::test
