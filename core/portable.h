#pragma once

// Marks a function that kernels call, too.
#ifdef __CUDACC__
#define SWITCHYARD_PORTABLE __host__ __device__
#else
#define SWITCHYARD_PORTABLE
#endif
