#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <utility>
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

// `total` divided in proportion to the weights, in whole numbers (largest remainder; ties go to the
// earlier one). Throws Error for weights that are not positive and finite.
std::vector<int64_t> apportion(const std::vector<double>& weights, int64_t total);

inline constexpr int64_t blend_block = 65'536;

// A block of 65,536 positions, apportioned. Throws Error, too, for weights so small that a quota
// would be 0.
std::vector<int64_t> blend_quotas(const std::vector<double>& weights);

// The seeds of a path along its lineage: each holds from a sample on, until the next one does. The
// first holds from sample 0; the samples never fall, and of two at the same one the later holds.
struct SeedChange {
  int64_t first_sample = 0;
  uint64_t seed = 0;
  friend bool operator==(const SeedChange&, const SeedChange&) = default;
};
struct Seeds {
  std::vector<SeedChange> changes;
  Seeds(uint64_t seed) : changes{{0, seed}} {}  // one that never changes
  uint64_t initial() const { return changes.front().seed; }
  // Those of the samples begin ... end - 1, counted from begin.
  Seeds within(int64_t begin, int64_t end) const;
};

struct SamplePlace {
  int set = 0;
  int64_t epoch = 0;   // of that set, from 0
  int64_t window = 0;  // of that set
};

// Which window of which set is read at a position of a stage of data: a pure function of (seeds,
// stage, position), O(sets + changes of the seed within the stage) in time and memory. See
// docs/design.md, "Sample order".
//
// Sets are interleaved evenly and alike in every block: the set with the largest quota n takes n of
// the block's m = 65,536 positions, at even distances; the next set takes its n of the m' = m - n
// positions that are left, counted without those taken, and so on (equal quotas: the earlier set
// first). The k-th position (from 0) that a set takes in block b is its number b * n + k, which
// counts its windows strictly in order of position: every window is read once before any is read
// twice. A permutation keyed by (seed, stage, set, epoch) maps the number within its epoch to a
// window. A seed that changes within a set's epoch permutes what is left of it: the window that the
// seed before would have read at another number that is left.
class SampleOrder {
 public:
  // seeds: by position of this stage. windows[d]: the training windows of set d, at least 1.
  SampleOrder(const Seeds& seeds, int stage, const std::vector<double>& weights,
              std::vector<int64_t> windows);
  SamplePlace at(int64_t position) const;
  const std::vector<int64_t>& quotas() const { return quotas_; }

 private:
  // A seed and, of each set, the first number that is read under it.
  struct Change {
    uint64_t seed = 0;
    std::vector<int64_t> first;
  };

  // The set that has this place in every block, and how many places it has before.
  std::pair<size_t, int64_t> turn(int64_t place_in_block) const;
  // How many positions before this one each set has.
  std::vector<int64_t> numbers_before(int64_t position) const;
  Permutation permutation(int64_t size, uint64_t seed, size_t set, int64_t epoch) const;

  int stage_;
  std::vector<int64_t> quotas_;
  std::vector<size_t> by_quota_;  // sets, the largest quota first
  std::vector<int64_t> windows_;
  std::vector<Change> changes_;
};

}  // namespace switchyard
