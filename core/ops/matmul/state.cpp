#include "core/ops/matmul/state.h"

#include <atomic>
#include <mutex>

#include "core/error.h"

namespace switchyard::ops {

namespace {

std::mutex mutex;
MatmulState state;
std::atomic<uint64_t> generation{0};

template <class Change>
void change_state(const Change& change) {
  const std::lock_guard lock(mutex);
  change(state);
  generation.fetch_add(1);
}

}  // namespace

MatmulState matmul_state() {
  const std::lock_guard lock(mutex);
  return state;
}

uint64_t matmul_state_generation() { return generation.load(); }

void set_matmul_fusion(bool fuse) {
  change_state([&](MatmulState& s) { s.fuse = fuse; });
}

void set_allow_tf32(bool allow) {
  change_state([&](MatmulState& s) { s.allow_tf32 = allow; });
}

MatmulProduct under_settings(MatmulProduct product) {
  product.tf32 = product.inputs == DType::f32 && matmul_state().allow_tf32;
  return product;
}

std::shared_ptr<const MatmulTuning> matmul_tuning() { return matmul_state().table; }

void use_matmul_tuning(std::shared_ptr<const MatmulTuning> table) {
  if (table) {
    const std::string reason = table->why_not(tuning_identity());
    check(reason.empty(), "matmul tuning", "{}", reason);
  }
  change_state([&](MatmulState& s) { s.table = std::move(table); });
}

}  // namespace switchyard::ops
