#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/dtype.h"
#include "core/sharded_tensor.h"

// Safetensors files: the length of a header (u64, little-endian), the header in JSON, {name:
// {dtype, shape, data_offsets}, "__metadata__": {...}}, and behind it the tensors' bytes,
// row-major.
namespace switchyard {

// A tensor as a header says it.
struct SafetensorsEntry {
  std::string name;
  std::string dtype;           // by the format's names: "F32", "BF16", "BOOL", ...
  std::vector<int64_t> shape;  // without axes: a scalar
  int64_t offset = 0;          // byte of the file where its elements begin
  int64_t bytes = 0;
  size_t file = 0;  // of SafetensorsFolder::files()
};

// f32, f16 or bf16, as weights may have; none for other types.
std::optional<DType> weight_dtype(const SafetensorsEntry& entry);
std::string shape_text(const SafetensorsEntry& entry);  // "[3, 4]"

// The tensors of one file, of which these are all bytes, in the order of their offsets. Everything
// that a header can say wrongly is an Error that names the file and the tensor: a length that the
// file has not, what is no JSON, a name twice, a dtype that is not known, a shape whose bytes are
// not its offsets', offsets that overlap, leave holes or end elsewhere than the file.
struct SafetensorsHeader {
  std::vector<SafetensorsEntry> tensors;
  std::map<std::string, std::string> metadata;
};
SafetensorsHeader parse_safetensors(std::span<const std::byte> file, const std::string& name);

// The tensors of a folder: model.safetensors, or the shards that model.safetensors.index.json
// names, which must be there and hold what it says and nothing else. Files are mapped. Throws Error
// for a folder that has neither; for one with pytorch_model.bin or other pickles alone, with the
// way out.
class SafetensorsFolder {
 public:
  explicit SafetensorsFolder(const std::filesystem::path& folder);
  ~SafetensorsFolder();

  const std::filesystem::path& folder() const;
  const std::vector<std::filesystem::path>& files() const;  // names within the folder
  const std::vector<SafetensorsEntry>& tensors() const;     // file by file, as they lie there
  const SafetensorsEntry* find(std::string_view name) const;
  int64_t bytes() const;                                       // of all files
  const std::byte* data(const SafetensorsEntry& entry) const;  // of any alignment
  // Bytes [begin, end) of a tensor have been read and will not be soon: they need no memory.
  void release(const SafetensorsEntry& entry, int64_t begin, int64_t end) const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

// Writes a folder's weights: model.safetensors where they fit into max_shard_bytes, else
// model-00001-of-0000N.safetensors ... and the index. Files get their names when their contents are
// on the disk; without finish() none is left. A folder that has weights already is refused. Within
// a file tensors of 4-byte elements lie first, so that all are aligned.
class SafetensorsWriter {
 public:
  struct Tensor {
    std::string name;
    DType dtype = DType::f32;  // f32, f16 or bf16
    Shape shape;
  };
  // Gives the elements of rows [first, first + count) of the tensor, row-major.
  using Fill = std::function<void(int64_t first, int64_t count, void* out)>;

  // All tensors that will be added, in their order: a shard takes them as long as they fit, at
  // least one (max_shard_bytes of elements, the header not counted). Two parts of at most
  // part_bytes / 2, or of a single row, are held at once: one is written while the next is filled.
  SafetensorsWriter(const std::filesystem::path& folder, std::vector<Tensor> tensors,
                    int64_t max_shard_bytes, int64_t part_bytes);
  ~SafetensorsWriter();
  void add(const std::string& name, const Fill& fill);  // the next one
  void finish();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace switchyard
