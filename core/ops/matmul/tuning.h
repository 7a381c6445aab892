#pragma once

#include <array>
#include <cstdint>
#include <filesystem>
#include <limits>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/ops/context.h"
#include "core/ops/matmul/plan.h"

// Which of cuBLASLt's algorithms each product takes on a GPU. One rank times the products of a step
// before the first one; the table is text, so that all ranks and every resume use the same choices
// and compute the same bits.
namespace switchyard::ops {

// What a choice holds for. Another one of these may compute other bits or refuse the algorithm.
struct TuningIdentity {
  std::string device;       // as the driver names it
  int multiprocessors = 0;  // of it
  int64_t cublaslt = 0;     // version, 130002 for 13.0.2
  int64_t cuda = 0;         // version of the runtime, 13000 for 13.0
  int64_t workspace_bytes = 0;

  std::string to_string() const;
  friend bool operator==(const TuningIdentity&, const TuningIdentity&) = default;
};

// Of the selected GPU and the current settings. Throws Error in a build without CUDA.
TuningIdentity tuning_identity();

using MatmulAlgorithm = std::array<uint64_t, 8>;  // cublasLtMatmulAlgo_t, as it is

struct MatmulChoice {
  Fusion fusion = Fusion::full;
  MatmulAlgorithm algorithm{};
  double microseconds = 0;            // measured, what is done behind the product included; else 0
  double heuristic_microseconds = 0;  // of what would have been taken without timing
  int candidates = 0;                 // timed; 0: there was no room for the operands

  friend bool operator==(const MatmulChoice&, const MatmulChoice&) = default;
};

// Text: one JSON object a line; the first says the identity, each other one a product and its
// choice.
class MatmulTuning {
 public:
  explicit MatmulTuning(TuningIdentity identity) : identity_(std::move(identity)) {}
  // Throws Error naming `name` and the line.
  static MatmulTuning parse(std::string_view text, std::string_view name);
  static MatmulTuning load(const std::filesystem::path& file);
  std::string to_text() const;  // the same for equal tables
  void save(const std::filesystem::path& file) const;

  const TuningIdentity& identity() const { return identity_; }
  // Why the table does not hold for `here`, naming both values; empty where it does.
  std::string why_not(const TuningIdentity& here) const;
  const MatmulChoice* find(const MatmulProduct& product) const;  // null where it has none
  void set(const MatmulProduct& product, const MatmulChoice& choice);
  std::vector<MatmulProduct> lacks(std::span<const MatmulProduct> products) const;

  friend bool operator==(const MatmulTuning&, const MatmulTuning&) = default;

 private:
  TuningIdentity identity_;
  std::map<MatmulProduct, MatmulChoice> choices_;
};

// From now on products of this process take their algorithms from `table`; null or what it lacks:
// cuBLASLt's own first suggestion, which is the same each time. Throws Error for a table that does
// not hold here.
void use_matmul_tuning(std::shared_ptr<const MatmulTuning> table);
std::shared_ptr<const MatmulTuning> matmul_tuning();

struct MatmulTimer {
  int candidates = 12;             // of each plan of a product
  int repetitions = 3;             // the median of as many measurements
  double milliseconds = 2;         // of one measurement, about
  double warm_milliseconds = 300;  // of products before the first measurement
  int64_t cold_bytes = 256 << 20;  // operands in rotation, so that none is found in the cache
  int64_t most_bytes = std::numeric_limits<int64_t>::max();  // of operands; what is free at most
};

// Times every candidate of every product that `table` lacks, on `context`'s GPU with random data,
// each with what is done behind the product; the best three and the first suggestion again, in
// turns; adds the fastest. What cuBLASLt refuses is left out. Waits for the stream; memory for the
// operands is given back. A product whose operands find no room gets cuBLASLt's first suggestion,
// untimed. Throws Error for a product that no candidate computes.
void tune_matmuls(const Context& context, std::span<const MatmulProduct> products,
                  MatmulTuning& table, const MatmulTimer& timer = {});

}  // namespace switchyard::ops
