// What convert refuses, each with one line, and that nothing is left of it.
#include <algorithm>
#include <fstream>

#include "tests/launch/exchange/published_folder.h"

namespace switchyard::test {
namespace {

namespace fs = std::filesystem;

using Change = std::function<void(PublishedGolden&)>;

class Refusals : public PublishedFolder {
 protected:
  void refuse(const ImportRequest& request, const std::string& part) {
    expect_error([&] { import_model(request); }, part);
    EXPECT_FALSE(fs::exists(at("run"))) << part;
    EXPECT_FALSE(fs::exists(at(".run.unfinished"))) << part;
  }
  void refuse_changed(const std::string& name, const Change& change, const std::string& part) {
    const std::string salt = std::to_string(++number_);
    refuse({.from = publish(name, salt, change), .to = at("run")}, part);
  }
  void refuse_export(const ExportRequest& request, const std::string& part) {
    expect_error([&] { export_model(request); }, part);
    EXPECT_FALSE(fs::exists(at("out"))) << part;
    EXPECT_FALSE(fs::exists(at(".out.unfinished"))) << part;
  }

 private:
  int number_ = 0;
};

PublishedGolden::Tensor& tensor(PublishedGolden& golden, const std::string& name) {
  return *std::ranges::find(golden.tensors, name, &PublishedGolden::Tensor::name);
}

TEST_F(Refusals, TensorsThatAreNotTheModels) {
  const std::string q = "model.layers.1.self_attn.q_proj.weight";
  refuse_changed(
      "llama_scaled",
      [&](auto& g) { std::erase_if(g.tensors, [&](const auto& t) { return t.name == q; }); },
      "has no tensor '" + q + "', which its config.json says it has");
  refuse_changed(
      "llama_scaled",
      [&](auto& g) {
        tensor(g, q).shape = {48, 24};
      },
      "'" + q + "' is [48, 24] in");
  refuse_changed(
      "llama_scaled", [&](auto& g) { tensor(g, q).shape = {2304}; }, "by config.json it is");
  refuse_changed(
      "llama_scaled", [&](auto& g) { tensor(g, q).dtype = "F64"; }, "'" + q + "' is of F64 in");
  refuse_changed(
      "llama_scaled",
      [](auto& g) {
        g.tensors.push_back({"model.layers.2.mlp.up_proj.weight", "BF16", {344, 48}});
      },
      "'model.layers.2.mlp.up_proj.weight' of");
  refuse_changed(
      "llama_scaled",
      [](auto& g) {
        g.tensors.push_back({"model.layers.0.self_attn.q_proj.bias", "BF16", {48}});
      },
      "belongs to no weight of the model");
  refuse_changed(
      "llama_biases",
      [](auto& g) {
        g.tensors.push_back({"lm_head.weight", "F32", {211, 48}});
      },
      "by config.json (tie_word_embeddings) they are one");
}

TEST_F(Refusals, FoldersThatHaveNoModel) {
  refuse({.from = at("none"), .to = at("run")}, "config.json");
  const fs::path from = publish("qwen2");
  fs::rename(from / "model.safetensors", from / "model.bin");
  refuse({.from = from, .to = at("run")}, "safetensors");
  fs::rename(from / "model.bin", from / "pytorch_model.bin");
  refuse({.from = from, .to = at("run")}, "safe_serialization");
  fs::rename(from / "pytorch_model.bin", from / "model.safetensors");
  fs::resize_file(from / "model.safetensors", fs::file_size(from / "model.safetensors") - 1);
  refuse({.from = from, .to = at("run")}, "model.safetensors");
  write_file_atomically(from / "config.json", "{");
  refuse({.from = from, .to = at("run")}, "config.json");
}

TEST_F(Refusals, WhatWeDoNotCompute) {
  const auto refuse_key = [&](const std::string& name, const char* key, const Json& value) {
    const auto from = publish(name);
    change_config(name, [&](Json& config) { config[key] = value; });
    refuse({.from = from, .to = at("run")}, key);
  };
  refuse_key("mistral", "sliding_window", 16);
  refuse_key("llama_scaled", "hidden_act", "relu");
  refuse_key("llama_scaled", "quantization_config", {{"bits", 4}});
  refuse_key("llama_scaled", "logit_scale", 0.5);
  refuse_key("llama_scaled", "num_key_value_heads", 4);
  refuse_key("gpt2_seven_heads", "scale_attn_by_inverse_layer_idx", true);
  refuse_key("gpt_neox_serial", "model_type", "bloom");
  change_config("llama_scaled", [](Json& config) {
    config = parse_json(read_published("llama_scaled").config);
    config["logit_scale"] = 1;
  });
  import_model({.from = at("llama_scaled"), .to = at("taken"), .ignored_keys = {"logit_scale"}});
}

TEST_F(Refusals, OptionsThatDoNotFit) {
  const auto from = publish("gpt2_seven_heads");
  refuse({.from = from, .to = at("run"), .sequence_length = 41},
         "--seq-length 41; the model has 40 learned positions");
  refuse({.from = from, .to = at("run"), .memory_bytes = 1 << 20}, "--memory 1 MiB");
  const auto too_large = publish("llama_biases");
  {
    std::fstream file(too_large / "model.safetensors", std::ios::in | std::ios::out);
    const float large = 70000;
    file.seekp(-4, std::ios::end);
    file.write(reinterpret_cast<const char*>(&large), sizeof(large));
  }
  refuse({.from = too_large, .to = at("run"), .dtype = DType::f16},
         "has the number 70000, which f16 cannot hold");
  make_folder(at("full"));
  write_file_atomically(at("full") / "file", "");
  expect_error([&] { import_model({.from = from, .to = at("full")}); },
               "exists already and is no run");
}

TEST_F(Refusals, ExportsThatCannotBe) {
  import_model({.from = publish("qwen2"), .to = at("run")});
  const std::string run = at("run").string();
  refuse_export({.from = run + "@5", .to = at("out")}, "step 5");
  refuse_export({.from = run, .to = at("out"), .weights = "average/ema"}, "--weights average/ema");
  refuse_export({.from = run, .to = at("out"), .architecture = Architecture::gpt2}, "gpt2");
  refuse_export({.from = run, .to = at("out"), .architecture = Architecture::llama}, "llama");
  refuse_export({.from = run, .to = at("out"), .tokenizer = at("none")}, "--tokenizer");
  refuse_export({.from = run, .to = at("out"), .memory_bytes = 1 << 20}, "--memory 1 MiB");
  expect_error([&] { export_model({.from = run, .to = at("run")}); }, "exists already");
  expect_error([&] { import_model({.from = at("qwen2"), .to = at("run"), .dtype = DType::f32}); },
               "has step 0 already, as its files have it");
}

TEST_F(Refusals, DamagedCheckpoints) {
  import_model({.from = publish("llama_scaled"), .to = at("run")});
  const auto shard = RunFolder(at("run")).checkpoint(0).folder / "shards" / "rank-00000.h5";
  const auto size = static_cast<int64_t>(fs::file_size(shard));
  std::fstream file(shard, std::ios::in | std::ios::out | std::ios::binary);
  file.seekg(size / 2);
  const char byte = static_cast<char>(file.get() ^ 1);
  file.seekp(size / 2);
  file.put(byte);
  file.close();
  refuse_export({.from = at("run").string(), .to = at("out")}, "is damaged");
}

}  // namespace
}  // namespace switchyard::test
