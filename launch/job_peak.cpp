#include "launch/job_peak.h"

#include <algorithm>
#include <chrono>

#include "launch/bench/matrix_rate.h"

namespace switchyard {

namespace {

// A product that lasts at least half a millisecond, and so tells a GPU's rate; the same on all
// ranks.
int64_t peak_size(const Mesh& mesh, const EngineOptions& options, ops::Context context) {
  constexpr double shortest = 5e-4;
  double size = 256;
  for (bool grows = true; grows && size < 8192;) {
    MatrixRate rate(static_cast<int64_t>(size), options.dtype, options.device);
    rate.measure(context);  // the first call makes plans
    grows = rate.operations() / rate.measure(context) < shortest;
    if (grows) size *= 2;
  }
  Stream host;
  mesh.world->all_reduce(std::span<double>(&size, 1), ReduceOp::max, host, {"matrix rate"})
      .wait(host);
  return static_cast<int64_t>(size);
}

// What the machine gives this job while all ranks compute: their products over the time of the
// slowest, so that ranks that share a core count it once.
double measure_peak(const Mesh& mesh, const EngineOptions& options) {
  Stream stream(options.device);
  Scratch scratch(options.device);
  const ops::Context context{stream, scratch};
  const int64_t size = peak_size(mesh, options, context);
  const int products = size > 1024 ? 20 : 3;
  MatrixRate rate(size, options.dtype, options.device);
  double best = 0;
  for (int round = 0; round < 4; ++round) {
    mesh.world->barrier({"matrix rate"});
    const auto begin = std::chrono::steady_clock::now();
    rate.measure(context, products);
    mesh.world->barrier({"matrix rate"});
    const auto time = std::chrono::steady_clock::now() - begin;
    best = std::max(best, mesh.world->size() * products * rate.operations() /
                              std::chrono::duration<double>(time).count());
  }
  return best;
}

double least(const Mesh& mesh, double value) {
  value = -value;
  Stream host;
  mesh.world->all_reduce(std::span<double>(&value, 1), ReduceOp::max, host, {"dense peak"})
      .wait(host);
  return -value;
}

}  // namespace

// NVIDIA's data sheets give 1,979 TFLOP/s of 16-bit products with sparsity for H100 and H200 SXM,
// 624 for A100, and half of it without.
double dense_peak(const std::string& gpu, DType dtype) {
  if (dtype != DType::bf16 && dtype != DType::f16) return 0;
  if (gpu == "NVIDIA H100 80GB HBM3" || gpu == "NVIDIA H200") return 989e12;
  return gpu.starts_with("NVIDIA A100") ? 312e12 : 0;
}

JobPeak job_peak(const Mesh& mesh, const EngineOptions& options) {
  if (options.device == Device::cpu) return {};
  const double published = least(mesh, dense_peak(describe_gpu().name, options.dtype));
  if (published > 0) return {published * mesh.world->size(), true};
  return {measure_peak(mesh, options), false};
}

}  // namespace switchyard
