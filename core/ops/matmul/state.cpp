#include "core/ops/matmul/state.h"

#include <atomic>
#include <mutex>

#include "core/error.h"

namespace switchyard::ops {

namespace {

constexpr int64_t most_workspace = int64_t{256} << 20;

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

MatmulSettings matmul_settings() { return matmul_state().settings; }

void set_matmul_settings(const MatmulSettings& settings) {
  check(settings.workspace_bytes >= 0 && settings.workspace_bytes <= most_workspace, "matmul",
        "a workspace of {} bytes; 0 to {} are allowed", settings.workspace_bytes, most_workspace);
  change_state([&](MatmulState& s) { s.settings = settings; });
}

void set_allow_tf32(bool allow) {
  change_state([&](MatmulState& s) { s.settings.allow_tf32 = allow; });
}

MatmulProduct under_settings(MatmulProduct product) {
  product.tf32 = product.inputs == DType::f32 && matmul_settings().allow_tf32;
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
