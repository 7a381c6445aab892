#pragma once

#include <memory>
#include <span>
#include <string>
#include <vector>

#include "data/dataset.h"

namespace switchyard {

// The windows [begin, end) of a set that validation draws from, the last of which may be short, and
// the set's weight in the sample (positive).
struct ValidationSource {
  std::shared_ptr<const TokenDataset> set;
  double weight = 1.0;
  int64_t begin = 0;
  int64_t end = 0;
};

// What a validation scores: of each set a number of windows in proportion to its weight, one at
// least, drawn over the whole set; a window is read again only when all of its set were. It depends
// on the sets (by identity), their weights and the number of samples alone: every validation, on
// every layout and of every path, scores the same. A set that is given twice counts once, with the
// sum of its weights.
class ValidationSample {
 public:
  // samples: over all sets; no more than the sets have windows, no fewer than there are sets.
  ValidationSample(const std::vector<ValidationSource>& sources, int64_t samples,
                   int64_t sequence_length);
  size_t sets() const { return parts_.size(); }
  // The end of its prefix that tells it from the others; sets are sorted by it.
  const std::string& name(size_t set) const { return parts_[set].name; }
  int64_t samples(size_t set) const { return parts_[set].samples; }
  // Tokens and targets of a sample of a set, as read_window() gives them.
  void read(size_t set, int64_t sample, std::span<int32_t> tokens,
            std::span<int32_t> targets) const;

 private:
  struct Part {
    ValidationSource source;
    std::string name;
    int64_t samples = 0;
    int64_t windows() const { return source.end - source.begin; }
  };
  std::vector<Part> parts_;
  int64_t sequence_length_;
};

}  // namespace switchyard
