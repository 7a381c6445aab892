#pragma once

#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "tests/faults/disk.h"
#include "tests/faults/promises.h"

namespace switchyard::test {

// The checksum of each piece of a step, by tensor and box.
using StepChecksums = std::map<std::string, std::string>;

// Says what is wrong with what a power cut or a kill has left: a step that counts as complete reads
// to the last byte and has the bits of the reference; what was promised is there; files about the
// path can be read, and the next start makes them whole. What was judged once is remembered.
class Judge {
 public:
  // `reference` has runs of the same names that were never hit, with all of their steps.
  Judge(std::filesystem::path scratch, std::filesystem::path reference);
  std::vector<std::string> faults(const Image& image, const Promises& promises);
  // Of all below `name`, contents and all.
  static uint64_t hash_of(const Image& image, const std::string& name);
  int64_t steps_read() const { return static_cast<int64_t>(steps_.size()); }
  int64_t starts_made() const { return static_cast<int64_t>(lineages_.size()); }

 private:
  std::string fault_of_step(const Image& image, const std::string& folder, const std::string& run,
                            int64_t step);
  std::string read_step(const Image& image, const std::string& folder, const std::string& run,
                        int64_t step);
  std::string fault_of_lineage(const Image& image, const std::string& run, bool is_complete);
  std::string start_again(const Image& image, const std::string& run);
  const StepChecksums* reference_of(const std::string& run, int64_t step);

  std::filesystem::path scratch_, reference_;
  std::map<uint64_t, std::string> steps_, lineages_;
  std::map<std::pair<std::string, int64_t>, StepChecksums> references_;
};

}  // namespace switchyard::test
