#pragma once

// Included ahead of every CUDA source that g++ compiles for the emulation: what nvcc knows by
// itself, as C++ that runs on the host.
//
// What the emulation is: each thread of a block is a fiber, blocks run on the host's cores, work
// queued on a stream runs as late as the program allows, device memory ends at a guard page and is
// out of the host's reach. It is strict about what a GPU leaves undefined and says where: barriers
// and shuffles that not all threads reach, accesses past an end, missing waits between streams.
// What it is not: a model of a GPU's speed, memory order or rounding (products are contracted into
// multiply-adds, but not the same ones), nor of blocks that wait for one another. A kernel that
// passes here has never been seen on a GPU. Atomics on floats are left out on purpose: results are
// deterministic.
//
// Environment: SWITCHYARD_EMULATED_SEED=N gives threads and blocks another order;
// SWITCHYARD_EMULATED_STREAMS=late|eager|random (late) says when queued work runs;
// SWITCHYARD_EMULATED_ERRORS=up|down|mixed makes functions such as expf as wrong as a GPU's may be;
// SWITCHYARD_EMULATED_MEMORY=BYTES (8 GiB) and SWITCHYARD_EMULATED_DEVICES=N (1) the devices.
#include <cuda_runtime.h>

#include "tests/emulated_cuda/atomics.h"
#include "tests/emulated_cuda/block.h"
#include "tests/emulated_cuda/device_functions.h"
#include "tests/emulated_cuda/warp.h"

#undef __shared__
#define __shared__ static thread_local __attribute__((abi_tag("emulated_shared")))
#undef __launch_bounds__
#define __launch_bounds__(...)
#undef __grid_constant__
#define __grid_constant__
#undef __align__
#define __align__(n) alignas(n)

#define threadIdx (::emulated::here.thread)
#define blockIdx (::emulated::here.block)
#define blockDim (::emulated::here.threads)
#define gridDim (::emulated::here.blocks)
#define warpSize 32
