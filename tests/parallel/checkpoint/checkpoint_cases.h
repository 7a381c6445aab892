#pragma once

#include <cstddef>
#include <deque>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "parallel/checkpoint/checkpoint.h"
#include "parallel/comm/communicator.h"

namespace switchyard::test {

// How a tensor is cut among ranks.
enum class Cut { rows, columns, flat, columns_then_flat, first_rank };
std::vector<Box> boxes_of(Cut cut, const Shape& global, int ranks, int rank);

struct TensorCase {
  std::string name;
  Shape shape;
  DType dtype = DType::f32;
  Cut cut = Cut::rows;
  std::vector<std::string> aliases;
};
// Random shapes of one and two axes, dtypes and cuts; the same for the same seed.
std::vector<TensorCase> random_tensors(uint64_t seed, int count);

// The bytes of a box of the tensor of that name in save number `version`: arbitrary bits, NaNs
// among them.
std::vector<std::byte> expected_bytes(const TensorCase& tensor, const Box& box, uint64_t version);

// One rank's pieces of the tensors, with memory of their own.
class LocalPieces {
 public:
  LocalPieces(const std::vector<TensorCase>& tensors, int ranks, int rank);
  void fill(uint64_t version);
  // Nothing when all is as filled for that version, else the name of a tensor that is not.
  std::string first_difference(uint64_t version) const;
  std::vector<ShardedTensor>& sharded() { return sharded_; }

 private:
  std::vector<TensorCase> tensors_;
  std::deque<std::vector<std::byte>> memory_;
  std::vector<ShardedTensor> sharded_;
};

CheckpointInfo info_of_step(int64_t step);
// Saves the tensors at a step from `ranks` threads; the version is the step's number.
void save(const std::filesystem::path& checkpoints, int64_t step,
          const std::vector<TensorCase>& tensors, int ranks);
// Reads every tensor whole; nothing when all is right, else what is not.
std::string difference(const std::filesystem::path& folder, const std::vector<TensorCase>& tensors,
                       uint64_t version);
// The text of the Error that body throws; empty when it throws none.
std::string error_of(const std::function<void()>& body);

// Changes one byte of a file, counted from its begin.
void flip_byte(const std::filesystem::path& file, int64_t position);
void flip_bit(const std::filesystem::path& file, int64_t position, int bit);
// Where these bytes occur in a file for the first time; -1 when they do not.
int64_t find_bytes(const std::filesystem::path& file, const std::vector<std::byte>& bytes);

}  // namespace switchyard::test
