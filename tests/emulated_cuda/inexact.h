#pragma once

#include <cmath>

// Functions whose results on a GPU are not the nearest floats. As a rule they are the host's, which
// are nearer; SWITCHYARD_EMULATED_ERRORS=up|down|mixed moves each result as far away from 0, as far
// towards it, or by some of that to either side, as NVIDIA documents that it may be off (CUDA C++
// Programming Guide, "Mathematical Functions").
namespace emulated {

// A float at most `ulps` units in the last place from `exact`. Where the nearest is 0, 1, 2 or
// -1 it is that: the GPU's functions are exact at the arguments that tests compare bits for.
float inexact(double exact, double ulps);

inline float gpu_expf(float x) { return inexact(std::exp(double{x}), 1); }
inline float gpu_logf(float x) { return inexact(std::log(double{x}), 1); }
inline float gpu_erff(float x) { return inexact(std::erf(double{x}), 2); }
inline float gpu_erfcf(float x) { return inexact(std::erfc(double{x}), 4); }

}  // namespace emulated

#define expf ::emulated::gpu_expf
#define logf ::emulated::gpu_logf
#define erff ::emulated::gpu_erff
#define erfcf ::emulated::gpu_erfcf

inline float __expf(float x) {
  return emulated::inexact(std::exp(double{x}), 2 + std::floor(std::abs(1.173 * double{x})));
}
inline float __fdividef(float x, float y) { return emulated::inexact(double{x} / double{y}, 2); }
