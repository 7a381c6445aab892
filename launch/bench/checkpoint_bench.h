#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "core/dtype.h"
#include "launch/path/options.h"

namespace switchyard {

// What saving and loading a preset's training state takes, beside the same bytes written and read
// with nothing of ours around them, in turns within one run.
struct CheckpointBench {
  std::string preset;
  DType weights = DType::f32;
  int ranks = 1;  // threads, of which each saves rows, and loads rows, then columns
  int64_t bytes = 0;
  int rounds = 0;
  struct Line {
    std::string name;
    std::string yardstick;  // of what the raw files do it is to reach the rate; empty: none
    std::vector<double> seconds;
    std::vector<double> core_seconds;  // of the process, its system calls included
    double median() const;
    double median_of_cores() const;
  };
  std::vector<Line> lines;
  const Line& line(const std::string& name) const;
  double bytes_per_second(const Line& line) const;
  // Of the yardstick's rate; 1: as fast.
  double share(const Line& line) const;
};

// Writes into `folder`, which is made and must be empty, and leaves it empty.
CheckpointBench bench_checkpoint(const Settings& given);

}  // namespace switchyard
