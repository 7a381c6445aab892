#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "core/dtype.h"
#include "tests/golden/golden_file.h"

namespace switchyard::test {

// A published model as transformers saves it, computes and trains it; make_published.py writes it.
struct PublishedGolden {
  struct Tensor {
    std::string name, dtype;  // as in the file: "BF16"
    std::vector<int64_t> shape;
    int64_t elements() const;
  };
  std::string name;
  std::string config;  // config.json
  std::vector<Tensor> tensors;
  std::vector<int32_t> prompt;
  std::vector<int32_t> columns;            // of the vocabulary
  std::vector<std::vector<float>> logits;  // [prompt, columns]
  int64_t batch = 0, length = 0;
  std::map<std::string, double> optimizer;
  std::vector<double> losses;
};
PublishedGolden read_published(const std::string& name);
std::vector<std::string> published_names();

// Its folder: config.json and model.safetensors, of the bytes that transformers would write.
// Another salt makes another model of the same shape.
void write_published(const PublishedGolden& golden, const std::filesystem::path& folder,
                     const std::string& salt = "");
// A tensor's bytes in its dtype.
std::vector<std::byte> published_bytes(const PublishedGolden::Tensor& tensor,
                                       const std::string& salt = "");

// The training run, without weights: for one that has them from elsewhere.
GoldenFile training_of(const PublishedGolden& golden, int64_t vocabulary);

}  // namespace switchyard::test
