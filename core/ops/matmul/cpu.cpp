#include <omp.h>

#include <dnnl.hpp>
#include <map>
#include <mutex>
#include <unordered_map>

#include "core/error.h"
#include "core/ops/backends.h"
#include "core/ops/cpu_identity.h"
#include "core/ops/matmul/behind.h"
#include "core/ops/matmul/matmul.h"
#include "core/ops/matmul/plan.h"
#include "core/ops/matmul/widened.h"

// Matrix products through oneDNN, whose primitives are made once for each kind of product.
namespace switchyard::ops::cpu {

namespace {

// What a primitive is made for. The number of threads is baked into it as well.
struct Kind {
  MatmulProduct product;
  DType bias = DType::f32;
  int threads = 0;
  auto operator<=>(const Kind&) const = default;  // NOLINT(modernize-use-nullptr): LLVM 14 errs
};

struct Primitive {
  dnnl::matmul::primitive_desc description;
  dnnl::matmul product;
};

const dnnl::engine& engine() {
  static const dnnl::engine cpu(dnnl::engine::kind::cpu, 0);
  return cpu;
}

dnnl::stream& stream() {
  thread_local dnnl::stream queue(engine());
  return queue;
}

dnnl::memory::data_type type_of(DType dtype) {
  return dtype == DType::bf16 ? dnnl::memory::data_type::bf16 : dnnl::memory::data_type::f32;
}

dnnl::memory::desc matrix(int64_t rows, int64_t columns, int64_t step, bool transposed,
                          DType dtype) {
  const dnnl::memory::dims strides =
      transposed ? dnnl::memory::dims{1, step} : dnnl::memory::dims{step, 1};
  return {{rows, columns}, type_of(dtype), strides};
}

dnnl::primitive_attr attributes(bool accumulate) {
  dnnl::primitive_attr attr;
  attr.set_scratchpad_mode(dnnl::scratchpad_mode::user);
#if DNNL_VERSION_MAJOR > 3 || (DNNL_VERSION_MAJOR == 3 && DNNL_VERSION_MINOR >= 5)
  attr.set_deterministic(true);
#endif
  if (accumulate) {
    dnnl::post_ops after;
    after.append_sum(1.0f);
    attr.set_post_ops(after);
  }
  return attr;
}

dnnl::matmul::primitive_desc describe(const Kind& kind) {
  const MatmulProduct& p = kind.product;
  const auto a = matrix(p.m, p.k, p.row_a, p.transpose_a, p.inputs);
  const auto b = matrix(p.k, p.n, p.row_b, p.transpose_b, p.inputs);
  const auto c = matrix(p.m, p.n, p.row_c, false, p.output);
  const auto attr = attributes(p.accumulate);
  const auto bias = p.bias ? matrix(1, p.n, p.n, false, kind.bias) : dnnl::memory::desc();
#if DNNL_VERSION_MAJOR >= 3
  if (p.bias) return {engine(), a, b, bias, c, attr};
  return {engine(), a, b, c, attr};
#else
  if (p.bias) return {dnnl::matmul::desc(a, b, bias, c), attr, engine()};
  return {dnnl::matmul::desc(a, b, c), attr, engine()};
#endif
}

Primitive make_primitive(const Kind& kind) {
  try {
    const auto description = describe(kind);
    return {description, dnnl::matmul(description)};
  } catch (const dnnl::error& error) {
    const MatmulProduct& p = kind.product;
    fail("matmul", "oneDNN refuses [{}, {}] x [{}, {}] of {} to {}: {}", p.m, p.k, p.k, p.n,
         name_of(p.inputs), name_of(p.output), error.what());
  }
}

// Ranks may be threads of one process, so the primitives are shared under a lock; those that were
// found stay valid when the cache drops them.
Primitive primitive_for(const Kind& kind) {
  constexpr size_t most = 4096;
  static std::mutex mutex;
  static std::map<Kind, Primitive> cache;
  const std::lock_guard lock(mutex);
  const auto found = cache.find(kind);
  if (found != cache.end()) return found->second;
  if (cache.size() == most) cache.clear();
  return cache.emplace(kind, make_primitive(kind)).first->second;
}

// A matrix of one row may have any step between rows; oneDNN wants one that fits.
int64_t row_step(const Tensor& t) { return t.shape[0] == 1 ? t.shape[1] : t.stride[0]; }

Kind kind_of(const Tensor& a, const Tensor& b, const Tensor& c, const MatmulOptions& options) {
  Kind kind{describe_product(a, b, c, options, false)};
  MatmulProduct& p = kind.product;
  p.row_a = row_step(a);
  p.row_b = row_step(b);
  p.row_c = row_step(c);
  p.align_a = p.align_b = p.align_c = MatmulProduct::widest_access;  // primitives take any
  if (p.bias) kind.bias = options.bias.dtype;
  kind.threads = omp_get_max_threads();
  return kind;
}

// Whether this processor (and what DNNL_MAX_CPU_ISA leaves of it) has bf16 products.
bool multiplies_bf16() {
  static const bool possible = [] {
    try {
      Kind kind{MatmulProduct::input_gradient(64, 64, 64, DType::bf16)};
      kind.product.output = DType::f32;
      describe(kind);
      return true;
    } catch (const dnnl::error&) {
      return false;
    }
  }();
  return possible;
}

// c = or += the product, with its bias.
void multiply(const Context& context, const Tensor& a, const Tensor& b, const Tensor& c,
              const MatmulOptions& options) {
  if (a.dtype == DType::bf16 && !multiplies_bf16()) {
    return matmul_widened(context, a, b, c, options);
  }
  const Primitive primitive = primitive_for(kind_of(a, b, c, options));
  const auto& description = primitive.description;
  const auto scratchpad = description.scratchpad_desc();
  Scratch::Scope scope(context.scratch);
  void* work = scope.allocate_bytes(static_cast<int64_t>(scratchpad.get_size()));
  std::unordered_map<int, dnnl::memory> arguments{
      {DNNL_ARG_SRC, {description.src_desc(), engine(), a.data}},
      {DNNL_ARG_WEIGHTS, {description.weights_desc(), engine(), b.data}},
      {DNNL_ARG_DST, {description.dst_desc(), engine(), c.data}},
      {DNNL_ARG_SCRATCHPAD, {scratchpad, engine(), work}}};
  if (options.bias) {
    arguments.insert({DNNL_ARG_BIAS, {description.bias_desc(), engine(), options.bias.data}});
  }
  primitive.product.execute(stream(), arguments);
  stream().wait();
}

const char* name_of(dnnl::cpu_isa isa) {
  switch (isa) {
    case dnnl::cpu_isa::avx2:
      return "avx2";
    case dnnl::cpu_isa::avx2_vnni:
      return "avx2_vnni";
    case dnnl::cpu_isa::avx512_core:
      return "avx512_core";
    case dnnl::cpu_isa::avx512_core_vnni:
      return "avx512_core_vnni";
    case dnnl::cpu_isa::avx512_core_bf16:
      return "avx512_core_bf16";
    case dnnl::cpu_isa::avx512_core_amx:
      return "avx512_core_amx";
    default:
      return "another";
  }
}

}  // namespace

void describe_products(CpuIdentity& identity) {
  const dnnl_version_t& version = *dnnl_version();
  identity.product_instruction_set = name_of(dnnl::get_effective_cpu_isa());
  identity.onednn_version = fmt::format("{}.{}.{}", version.major, version.minor, version.patch);
}

// oneDNN's post-operations keep no gelu's input and sum no rows, so these come behind the product.
void matmul(const Context& context, const Tensor& a, const Tensor& b, const Tensor& c,
            const MatmulOptions& options) {
  multiply(context, a, b, options.gelu_input ? options.gelu_input : c,
           {options.transpose_a, options.transpose_b, options.accumulate, options.bias});
  if (options.gelu_input) gelu_behind(context, c, options.gelu_input);
  if (options.gelu_gradient) gelu_gradient_behind(context, c, options.gelu_gradient);
  if (options.row_sums) row_sums_behind(context, a, options.row_sums);
  if (auto* profiler = Profiler::active()) {
    const MatmulProduct product = describe_product(a, b, c, options, false);
    profiler->note({"oneDNN", plan_matmul(product, Fusion::bias, 0).brief(), product.operations()});
  }
}

}  // namespace switchyard::ops::cpu
