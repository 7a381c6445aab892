#pragma once

#include <array>
#include <cstdint>
#include <vector>

namespace switchyard {

// A pseudo-random permutation of 0 ... size - 1 as a function: a Feistel network over the next even
// power of two with cycle walking (Black and Rogaway 2002), rounds keyed through Philox. Twelve
// rounds: with six, sizes below 16 are visibly uneven.
// O(1) time and memory; size from 1 to 2^62.
class Permutation {
 public:
  Permutation(uint64_t size, uint64_t seed, uint32_t stage, uint32_t set, uint64_t epoch);
  uint64_t operator()(uint64_t index) const;
  uint64_t size() const { return size_; }

 private:
  uint64_t size_;
  int half_bits_;
  std::array<uint32_t, 12> keys_;
};

inline constexpr int64_t blend_block = 65'536;

// Whole-number quotas of a block of 65,536 positions for the weights (largest remainder; ties go to
// the earlier set). Throws Error for weights that are not positive and finite, or so small that a
// quota would be 0.
std::vector<int64_t> blend_quotas(const std::vector<double>& weights);

struct SamplePlace {
  int set = 0;
  int64_t epoch = 0;   // of that set, from 0
  int64_t window = 0;  // of that set
};

// Which window of which set is read at a position of a stage of data: a pure function of (seed,
// stage, position), O(1). See docs/design.md, "Sample order".
class SampleOrder {
 public:
  // windows[d]: the training windows of set d, at least 1.
  SampleOrder(uint64_t seed, int stage, std::vector<double> weights, std::vector<int64_t> windows);
  SamplePlace at(int64_t position) const;
  const std::vector<int64_t>& quotas() const { return quotas_; }

 private:
  uint64_t seed_;
  int stage_;
  std::vector<int64_t> quotas_;
  std::vector<int64_t> first_;  // where a set's stretch of the block begins
  std::vector<int64_t> windows_;
};

}  // namespace switchyard
