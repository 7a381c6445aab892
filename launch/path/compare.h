#pragma once

#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "launch/path/step_records.h"
#include "parallel/checkpoint/checkpoint.h"

namespace switchyard {

// Numbers differ where |a - b| / max(|a|, |b|) is above `tolerance`; with the tolerance 0 where
// their bits do, but for NaN, of which all are alike in the records of steps.

// Steps that two runs have in common.
struct RecordComparison {
  struct Place {
    int64_t step = 0;
    std::string name;  // of StepRecord
    double a = 0, b = 0;
  };
  int64_t common = 0, first_step = 0, last_step = 0;
  int64_t only_a = 0, only_b = 0;  // steps that the other has not
  int64_t differing = 0;           // steps with a number that differs
  std::optional<Place> first, largest;
};
RecordComparison compare_records(const std::map<int64_t, StepRecord>& a,
                                 const std::map<int64_t, StepRecord>& b, double tolerance);

// Tensors that two checkpoints have in common, by name.
struct CheckpointComparison {
  struct Place {
    std::string tensor;
    std::vector<int64_t> index;  // of the element
    double a = 0, b = 0;
  };
  int64_t tensors = 0, elements = 0;
  int64_t differing_tensors = 0, differing_elements = 0;
  // Those that the other has not, and "NAME: f32 [2, 3] and bf16 [2, 3]".
  std::vector<std::string> only_a, only_b, unlike;
  std::optional<Place> first, largest;

  bool agrees() const {
    return differing_elements == 0 && only_a.empty() && only_b.empty() && unlike.empty();
  }
};
// Reads part by part, never holding more than 2 * part_bytes. `group`: that alone;
// empty: all. `progress` hears of the bytes read of a. Throws Error where files are cut short
// or what is compared of them is damaged.
CheckpointComparison compare_checkpoints(const CheckpointReader& a, const CheckpointReader& b,
                                         const std::string& group, double tolerance,
                                         const std::function<void(int64_t bytes)>& progress = {},
                                         int64_t part_bytes = int64_t{16} << 20);

}  // namespace switchyard
