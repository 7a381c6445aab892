#include "tests/golden/published_file.h"

#include <algorithm>
#include <fstream>
#include <numeric>
#include <string_view>

#include "core/files.h"
#include "core/json.h"

namespace switchyard::test {

namespace {

uint32_t mixed(uint32_t x) {
  x = (x ^ x >> 16) * 0x85ebca6bU;
  x = (x ^ x >> 13) * 0xc2b2ae35U;
  return x ^ x >> 16;
}

// As published.py's numbers(name, ...)[index].
uint32_t number(std::string_view name, int64_t index) {
  uint32_t key = 2166136261U;
  for (const char c : name) key = (key ^ static_cast<uint8_t>(c)) * 16777619U;
  return mixed(static_cast<uint32_t>(index) * 0x9e3779b9U + key);
}

std::vector<int32_t> walk(const std::string& name, int64_t count, int64_t vocabulary) {
  std::vector<int32_t> tokens;
  uint64_t at = number(name, 0);
  for (int64_t i = 0; i < count; ++i) {
    at += number(name, i) % 3 + 1;
    tokens.push_back(static_cast<int32_t>(at % static_cast<uint64_t>(vocabulary)));
  }
  return tokens;
}

template <class T>
void append(std::vector<std::byte>& bytes, T value) {
  const auto* at = reinterpret_cast<const std::byte*>(&value);
  bytes.insert(bytes.end(), at, at + sizeof(T));
}

}  // namespace

int64_t PublishedGolden::Tensor::elements() const {
  return std::accumulate(shape.begin(), shape.end(), int64_t{1}, std::multiplies<>());
}

std::vector<std::string> published_names() {
  return {"gpt2_seven_heads",
          "gpt2_vocabulary",
          "gpt_neox_wide_heads",
          "gpt_neox_serial",
          "llama_scaled",
          "llama_biases",
          "qwen2",
          "mistral"};
}

PublishedGolden read_published(const std::string& name) {
  const Json j = parse_json(read_file(std::string(PUBLISHED_FOLDER) + "/" + name + ".json"));
  PublishedGolden golden;
  golden.name = name;
  golden.config = j.at("config");
  for (const auto& t : j.at("tensors")) golden.tensors.push_back({t.at(0), t.at(1), t.at(2)});
  golden.prompt = j.at("prompt").get<std::vector<int32_t>>();
  golden.columns = j.at("columns").get<std::vector<int32_t>>();
  golden.logits = j.at("logits").get<std::vector<std::vector<float>>>();
  golden.batch = j.at("batch");
  golden.length = j.at("length");
  golden.losses = j.at("losses").get<std::vector<double>>();
  for (const auto& [key, value] : j.at("optimizer").items()) golden.optimizer[key] = value;
  return golden;
}

std::vector<std::byte> published_bytes(const PublishedGolden::Tensor& tensor,
                                       const std::string& salt) {
  const bool is_norm = tensor.shape.size() == 1 && tensor.name.ends_with(".weight");
  std::vector<std::byte> bytes;
  for (int64_t i = 0; i < tensor.elements(); ++i) {
    const double unit = number(tensor.name + salt, i) / 0x1p31 - 1.0;
    const auto value = static_cast<float>(is_norm ? 1.0 + 0.25 * unit : 0.125 * unit);
    if (tensor.dtype == "F32") append(bytes, value);
    if (tensor.dtype == "BF16") append(bytes, bf16(value));
    if (tensor.dtype == "F16") append(bytes, f16(value));
    if (tensor.dtype == "U8") append(bytes, uint8_t{1});
    if (tensor.dtype == "F64") append(bytes, double{value});
  }
  return bytes;
}

void write_published(const PublishedGolden& golden, const std::filesystem::path& folder,
                     const std::string& salt) {
  std::filesystem::create_directories(folder);
  write_file_atomically(folder / "config.json", golden.config);
  Json header = {{"__metadata__", {{"format", "pt"}}}};
  std::vector<std::byte> data;
  for (const auto& tensor : golden.tensors) {
    const auto bytes = published_bytes(tensor, salt);
    header[tensor.name] = {{"dtype", tensor.dtype},
                           {"shape", tensor.shape},
                           {"data_offsets", {data.size(), data.size() + bytes.size()}}};
    data.insert(data.end(), bytes.begin(), bytes.end());
  }
  const std::string text = json_text(header);
  const uint64_t length = text.size();
  std::ofstream file(folder / "model.safetensors", std::ios::binary);
  file.write(reinterpret_cast<const char*>(&length), sizeof(length));
  file << text;
  file.write(reinterpret_cast<const char*>(data.data()), static_cast<std::streamsize>(data.size()));
}

GoldenFile training_of(const PublishedGolden& golden, int64_t vocabulary) {
  GoldenFile file;
  file.optimizer = golden.optimizer;
  file.batch = golden.batch;
  file.length = golden.length;
  file.losses = golden.losses;
  file.steps = static_cast<int64_t>(golden.losses.size());
  for (int64_t step = 1; step <= file.steps; ++step) {
    for (int64_t b = 0; b < file.batch; ++b) {
      const auto sample = walk(golden.name + " " + std::to_string(step) + " " + std::to_string(b),
                               file.length + 1, vocabulary);
      file.tokens.insert(file.tokens.end(), sample.begin(), sample.end());
    }
  }
  return file;
}

}  // namespace switchyard::test
