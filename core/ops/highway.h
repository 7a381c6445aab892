#pragma once

// Which instruction sets Highway compiles a kernel for: the build's baseline (AVX2 with
// x86-64-v3) and AVX-512, chosen at run time. Include this before hwy/foreach_target.h.
// x86-64-v3 has no AES, without which Highway would fall back to SSSE3; no kernel here uses AES.
#define HWY_DISABLE_PCLMUL_AES
#define HWY_DISABLED_TARGETS (HWY_SSSE3 | HWY_SSE4 | HWY_AVX3_DL)

#include <hwy/detect_targets.h>

// A kernel file defines HWY_TARGET_INCLUDE as its own path, includes this header,
// hwy/foreach_target.h and then hwy/highway.h or core/ops/vector-inl.h.
