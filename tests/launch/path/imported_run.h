#pragma once

#include <cstring>
#include <filesystem>
#include <limits>
#include <string>
#include <vector>

#include "core/half.h"
#include "launch/path/imported.h"
#include "launch/path/run_folder.h"
#include "parallel/checkpoint/state_groups.h"

// Imported runs for tests, made of the weights of a trained path.
namespace switchyard::test {

inline ImportedWeights published(int64_t step) {
  ImportedWeights weights;
  weights.model = "tiny-gpt2";
  weights.architecture = "gpt2";
  weights.files = {{"config.json", 500, std::string(64, 'c')},
                   {"model.safetensors", 1000 + step, std::string(64, 'a')}};
  return weights;
}

// `dtype` of the weights' bytes. `values` are those of one tensor.
inline std::vector<char> rounded(const std::vector<float>& values, DType dtype) {
  std::vector<char> bytes(values.size() * static_cast<size_t>(size_of(dtype)));
  for (size_t i = 0; i < values.size(); ++i) {
    const auto put = [&](auto value) {
      std::memcpy(bytes.data() + i * sizeof(value), &value, sizeof(value));
    };
    if (dtype == DType::f32) put(values[i]);
    if (dtype == DType::bf16) put(bf16(values[i]));
    if (dtype == DType::f16) put(f16(values[i]));
  }
  return bytes;
}

// Adds step `step` to an imported run: the weights of a step of a path in fp32, its tensors in
// `dtypes` in turn.
inline void import_step(const std::filesystem::path& run, int64_t step,
                        const std::filesystem::path& path, int64_t of,
                        const std::vector<DType>& dtypes = {DType::f32}) {
  const auto trained = RunFolder(path).read();
  const CheckpointReader reader(RunFolder(path).checkpoint(of).folder);
  GptConfig model = trained.model;
  model.hidden_dropout = model.attention_dropout = 0;
  const auto imported = imported_path(model, trained.sequence_length(), trained.tokenizer);
  const RunFolder folder(run);
  folder.write(imported);
  CheckpointInfo info;
  info.step = step;
  info.loss = std::numeric_limits<double>::quiet_NaN();
  info.documents = {{"specification", imported.to_json()},
                    {"model", imported.model.to_json()},
                    {import_document, json_text(imported_json(published(step)))}};
  CheckpointStreamWriter writer(folder.checkpoints(), info);
  size_t next = 0;
  for (const auto& weight : weights_in(reader)) {
    StoredTensor tensor = *reader.find(tensor_name(groups::model, weight));
    std::vector<float> values(static_cast<size_t>(tensor.shape.elements()));
    reader.read(tensor.name, Box::whole(tensor.shape), values.data());
    tensor.dtype = dtypes[next++ % dtypes.size()];
    const auto bytes = rounded(values, tensor.dtype);
    writer.add(tensor, bytes.data());
  }
  writer.finish();
}

}  // namespace switchyard::test
