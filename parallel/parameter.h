#pragma once

#include <string>

#include "core/sharded_tensor.h"
#include "core/tensor.h"

namespace switchyard {

enum class Initial : uint8_t { zeros, ones, normal };

// A weight of the model as one rank holds it. What it computes is the model's affair; what is said
// here is all that gradients' reduction, the optimizer and checkpoints need to know.
struct Parameter {
  std::string name;  // of the global tensor, such as "layers.3.mlp.up.weight"
  Shape global;      // its true shape, without rows that pad the vocabulary
  Box box;           // the part held here; may be empty (only padding is here)
  Shape local;       // the storage's shape: box's extent, plus padding rows behind it
  // So many ranks next to each other on tp hold this box alike; gradients there are partial sums.
  // Checkpoints and the norm count the first of them.
  int replicas = 1;
  bool fused = false;  // replicas lie among split parameters, with which they make one matrix
  bool tied = false;   // held by the first and the last pipeline stage alike
  bool stored = true;  // this stage's copy is the one that checkpoints and the norm count
  bool decay = true;   // weight decay applies
  // The first microbatch's backward writes the whole gradient, which need not be zero before.
  bool gradient_overwritten = false;
  int layer = 0;  // parameters of one layer become ready together in backward
  Initial initial = Initial::normal;
  float deviation = 0.02f;  // of Initial::normal
  // Views that FlatBuffers binds: [local], in the flat buffers of weights and gradients.
  Tensor weight;
  Tensor gradient;  // f32
};

}  // namespace switchyard
