#pragma once

#include "core/ops/matmul/matmul.h"

// Private to core/ops.
namespace switchyard::ops::cpu {

// The product of bf16 matrices on a processor without bf16 products: tiles of both are widened to
// fp32 in scratch (at most 12 MiB, whatever the shapes) and multiplied in fp32.
void matmul_widened(const Context& context, const Tensor& a, const Tensor& b, const Tensor& c,
                    const MatmulOptions& options);

}  // namespace switchyard::ops::cpu
