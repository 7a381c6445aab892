#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "launch/bench/matrix_rate.h"
#include "parallel/comm/rank_places.h"
#include "parallel/mesh.h"

namespace switchyard {

// What one rank measured.
struct RankHealth {
  double matrix = 0;     // FLOP a second of matrix products in the path's type
  double copy = 0;       // bytes read and written a second in its memory
  double exchange = 0;   // bytes sent and received a second with its neighbours; 0: one rank
  int64_t product = 0;   // hash of a fixed product's bits
  int64_t hardware = 0;  // hash of what decides over these bits
};

// A rate below the median by so much is an outlier.
constexpr double health_factor = 1.5;

struct HealthReport {
  std::string summary;                // one line: medians, and the worst with its rank
  std::vector<std::string> outliers;  // one line each: slow ranks
  std::string wrong;                  // ranks whose product has other bits; empty: none
};
HealthReport judge_health(std::span<const RankHealth> ranks, std::span<const RankPlace> places);

// --health-check, --health-check-interval: what each rank's device and network give, in memory of
// its own that is held from the start on, so that no bit of training depends on it.
class HealthCheck {
 public:
  HealthCheck(const Mesh& mesh, DType dtype, Device device);
  // Measures for about half a second and logs it. Throws AgreedError (ExitCode::differs) for a
  // product with other bits than on like hardware. Collective, with no step under way.
  void run();

 private:
  RankHealth measure();
  double copy_rate();
  double exchange_rate();
  double matrix_rate();
  int64_t product_hash();
  int64_t hardware_hash() const;

  const Mesh& mesh_;
  DType dtype_;
  Device device_;
  Stream stream_;
  Scratch scratch_;
  Memory from_, to_;
  MatrixRate rate_, product_;
};

}  // namespace switchyard
