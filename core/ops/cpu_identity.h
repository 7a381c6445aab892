#pragma once

#include <string>

namespace switchyard::ops {

// What the bits of a run on the CPU depend on, as far as the machine chooses it.
struct CpuIdentity {
  std::string instruction_set;          // of the operators, as Highway names it: AVX2, AVX3, ...
  std::string product_instruction_set;  // of oneDNN's products: avx2, avx512_core, ...
  std::string onednn_version;
};
CpuIdentity cpu_identity();

namespace cpu {
void describe_products(CpuIdentity& identity);  // fills in what is oneDNN's
}

}  // namespace switchyard::ops
