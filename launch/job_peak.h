#pragma once

#include <string>

#include "launch/engine/engine_options.h"
#include "parallel/mesh.h"

namespace switchyard {

// What a job's mfu is the share of; 0 FLOP a second on the CPU, whose cores others use, too, so
// that no peak that is measured once holds.
struct JobPeak {
  double flops = 0;    // of all ranks
  bool dense = false;  // the GPU's published dense peak, not one that was measured
};

// FLOP a second without sparsity of a GPU with this name in its data sheet; 0 where unknown.
double dense_peak(const std::string& gpu, DType dtype);

// Of these ranks: the published peak of their GPUs, or else what all of them measured at the same
// time. Collective.
JobPeak job_peak(const Mesh& mesh, const EngineOptions& options);

}  // namespace switchyard
