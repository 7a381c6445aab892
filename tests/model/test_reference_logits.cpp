#include <gmock/gmock.h>

#include "core/error.h"
#include "core/files.h"
#include "core/json.h"
#include "model/exchange/foreign_config.h"
#include "model/exchange/reference_logits.h"
#include "model/exchange/weight_map.h"
#include "parallel/checkpoint/safetensors.h"
#include "tests/model/foreign_models.h"
#include "tests/model/reference_model.h"
#include "tests/support/temporary_folder.h"

namespace switchyard {
namespace {

using test::all_architectures;
using test::random_model;
using testing::HasSubstr;
using testing::ThrowsMessage;

// Random weights under our names; norms around one.
test::Weights random_weights(const std::vector<WeightMap>& maps, std::mt19937& random) {
  std::normal_distribution<double> normal;
  test::Weights weights;
  for (const WeightMap& map : maps) {
    const bool norm = map.ours.find("norm.weight") != std::string::npos;
    std::vector<double> values(static_cast<size_t>(map.shape.elements()));
    for (double& value : values) {
      value = static_cast<float>((norm ? 1.0 : 0.0) + 0.1 * normal(random));
    }
    weights[map.ours] = std::move(values);
  }
  return weights;
}

using Tensors = std::map<std::string, std::pair<Shape, std::vector<float>>>;

// As their files have them.
Tensors laid_out(const std::vector<WeightMap>& maps, const test::Weights& weights) {
  Tensors theirs;
  for (const WeightMap& map : maps) {
    auto& [shape, values] = theirs[map.theirs];
    shape = map.their_shape;
    values.resize(static_cast<size_t>(shape.elements()));
    const int64_t columns = map.shape.rank() == 2 ? map.shape[1] : 1;
    const std::vector<double>& ours = weights.at(map.ours);
    for (int64_t i = 0; i < map.shape.elements(); ++i) {
      const int64_t row = map.their_row(i / columns), column = i % columns;
      const int64_t at = map.transposed ? column * shape[1] + row : row * columns + column;
      values[static_cast<size_t>(at)] = static_cast<float>(ours[static_cast<size_t>(i)]);
    }
  }
  return theirs;
}

void write_folder(const std::filesystem::path& folder, const Tensors& tensors,
                  const std::string& config, std::string_view without_prefix = "") {
  const auto named = [&](std::string name) {
    if (!without_prefix.empty() && name.starts_with(without_prefix)) {
      name.erase(0, without_prefix.size());
    }
    return name;
  };
  std::vector<SafetensorsWriter::Tensor> list;
  for (const auto& [name, tensor] : tensors) {
    list.push_back({named(name), DType::f32, tensor.first});
  }
  SafetensorsWriter writer(folder, list, 200000, 4096);
  for (const auto& [name, tensor] : tensors) {
    const auto& [shape, values] = tensor;
    const int64_t row = shape.elements() / shape[0];
    writer.add(named(name), [&values = values, row](int64_t first, int64_t count, void* out) {
      std::copy_n(values.begin() + first * row, count * row, static_cast<float*>(out));
    });
  }
  writer.finish();
  write_file_atomically(folder / "config.json", config);
}

std::vector<int32_t> draw_tokens(int64_t vocabulary, std::mt19937& random) {
  std::vector<int32_t> tokens(24);
  for (int32_t& token : tokens) {
    token = static_cast<int32_t>(random() % static_cast<uint64_t>(vocabulary));
  }
  return tokens;
}

// Models drawn anew, written by the maps and read by the folder's own names and layouts.
TEST(ReferenceLogits, AreThoseOfOurDefinitions) {
  std::mt19937 random(4);
  for (const Architecture architecture : all_architectures) {
    for (int i = 0; i < 6; ++i) {
      const GptConfig c = random_model(architecture, random);
      SCOPED_TRACE(std::string(name_of(architecture)) + c.to_json());
      const std::vector<WeightMap> maps = weight_maps(architecture, c);
      const test::Weights weights = random_weights(maps, random);
      const test::TemporaryFolder folder;
      write_folder(folder.path(), laid_out(maps, weights),
                   write_foreign_config(c, architecture, DType::f32),
                   i % 2 == 0 ? "" : base_prefix(architecture));
      test::ReferenceBatch batch;
      batch.samples = 1;
      batch.tokens = draw_tokens(c.vocabulary, random);
      batch.length = static_cast<int64_t>(batch.tokens.size());
      const std::vector<double> ours = test::ReferenceModel(c, weights, batch).logits();
      const std::vector<float> theirs = reference_logits(folder.path(), batch.tokens);
      ASSERT_EQ(theirs.size(), ours.size());
      double largest = 0, difference = 0;
      for (size_t at = 0; at < ours.size(); ++at) {
        largest = std::max(largest, std::abs(ours[at]));
        difference = std::max(difference, std::abs(ours[at] - theirs[at]));
      }
      EXPECT_GT(largest, 0.5);
      EXPECT_LT(difference, 1e-5 * std::max(1.0, largest));
    }
  }
}

// Rope scaling from all positions, whatever the key that says how many these are.
TEST(ReferenceLogits, AnOldNameOfThePositionsIsRead) {
  std::mt19937 random(6);
  GptConfig c = preset("llama-tiny");
  c.layers = 1;
  c.rope_scaling = true;
  c.max_positions = c.rope_original_positions = 16;
  const std::vector<WeightMap> maps = weight_maps(Architecture::llama, c);
  const Tensors tensors = laid_out(maps, random_weights(maps, random));
  const std::string text = write_foreign_config(c, Architecture::llama, DType::f32);
  Json old = parse_json(text);
  old["rope_scaling"].erase("original_max_position_embeddings");
  old.erase("max_position_embeddings");
  old["max_sequence_length"] = 16;
  const std::vector<int32_t> tokens = draw_tokens(c.vocabulary, random);
  const test::TemporaryFolder one, other;
  write_folder(one.path(), tensors, text);
  write_folder(other.path(), tensors, json_text(old));
  EXPECT_EQ(reference_logits(other.path(), tokens), reference_logits(one.path(), tokens));
  EXPECT_EQ(read_foreign_config(json_text(old), "config.json").config,
            read_foreign_config(text, "config.json").config);
}

TEST(ReferenceLogits, WhatAFolderLacksIsNamed) {
  std::mt19937 random(5);
  const GptConfig c = random_model(Architecture::gpt2, random);
  const std::vector<WeightMap> maps = weight_maps(Architecture::gpt2, c);
  Tensors tensors = laid_out(maps, random_weights(maps, random));
  tensors.erase("transformer.ln_f.bias");
  const test::TemporaryFolder folder;
  write_folder(folder.path(), tensors, write_foreign_config(c, Architecture::gpt2, DType::f32));
  const auto logits_of = [&folder](std::vector<int32_t> tokens) {
    return [&folder, tokens = std::move(tokens)] { reference_logits(folder.path(), tokens); };
  };
  EXPECT_THAT(logits_of({1, 2}), ThrowsMessage<Error>(HasSubstr("transformer.ln_f.bias")));
  EXPECT_THAT(logits_of({}), ThrowsMessage<Error>(HasSubstr("no tokens")));
  EXPECT_THAT(logits_of({static_cast<int32_t>(c.vocabulary)}),
              ThrowsMessage<Error>(HasSubstr("transformer.wte.weight")));
  EXPECT_THAT(logits_of(std::vector<int32_t>(static_cast<size_t>(c.max_positions) + 1)),
              ThrowsMessage<Error>(HasSubstr("transformer.wpe.weight")));
}

}  // namespace
}  // namespace switchyard
