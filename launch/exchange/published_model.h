#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "model/exchange/foreign_config.h"
#include "model/exchange/weight_map.h"
#include "parallel/checkpoint/safetensors.h"

namespace switchyard {

// What a folder's model is called: by the folder, a snapshot of Hugging Face's cache by its model
// ("org/name"), and with_parent together with the folder above ("pythia-160m/step1000").
std::string published_name(const std::filesystem::path& folder, bool with_parent);

// A Hugging Face folder whose configuration and tensors are one of our models, whole.
class PublishedModel {
 public:
  // One of our tensors, and where it lies.
  struct Weight {
    WeightMap map;
    const SafetensorsEntry* entry = nullptr;
    DType dtype = DType::f32;
    bool last_of_entry = false;  // nothing behind it reads the entry
  };

  // Throws Error naming file and key, or tensor: what is missing, has another shape or type, or
  // belongs to no weight of the model.
  PublishedModel(const std::filesystem::path& folder, const std::vector<std::string>& ignored_keys);

  const std::filesystem::path& folder() const { return files_.folder(); }
  const ForeignConfig& said() const { return said_; }
  const GptConfig& config() const { return said_.config; }
  const SafetensorsFolder& files() const { return files_; }
  const std::vector<Weight>& weights() const { return weights_; }
  const std::vector<std::string>& remarks() const { return remarks_; }
  // Rows of our tensor, as they are stored; what was read needs no memory any more.
  void read(const Weight& weight, int64_t first_row, int64_t rows, std::byte* out) const;

 private:
  void find_weights();
  void check_rest();
  void check_copy_of_embedding(const SafetensorsEntry& head) const;

  ForeignConfig said_;
  SafetensorsFolder files_;
  std::vector<Weight> weights_;
  std::vector<std::string> remarks_;
};

}  // namespace switchyard
