#pragma once

// Which instruction sets Highway compiles a kernel for: the build's baseline (AVX2 with
// x86-64-v3) and AVX-512, chosen at run time. x86-64-v3 has no AES, without which Highway would
// fall back to SSSE3; no kernel here uses AES. A kernel file NAME_cpu.cpp starts:
//   #undef HWY_TARGET_INCLUDE
//   #define HWY_TARGET_INCLUDE "core/ops/NAME_cpu.cpp"
//   #include "core/ops/highway.h"
//   #include <hwy/foreach_target.h>
//   #include "core/ops/vector-inl.h"
#define HWY_DISABLE_PCLMUL_AES
#define HWY_DISABLED_TARGETS (HWY_SSSE3 | HWY_SSE4 | HWY_AVX3_DL)

#include <hwy/detect_targets.h>
