#pragma once

#include <cstdint>
#include <span>
#include <string_view>

#include "core/ops/context.h"
#include "core/profiler.h"
#include "core/tensor.h"

// Private to core/ops: each operator once more for each backend, under the same name and with the
// same arguments. `NAME.cpp` checks all arguments and calls the backend of the tensors' device;
// `NAME_cpu.cpp` defines ops::cpu, `NAME_cuda.cu` or no_cuda.cpp defines ops::cuda.
namespace switchyard::ops {

// The operators' headers define these; here their names are enough.
enum class Activation : uint8_t;
struct AdamWOptions;
struct AdamWTensors;
struct AttentionBackward;
struct AttentionOptions;
struct Dropout;
struct GradientScale;
struct MatmulOptions;
struct ResidualNorm;
struct ResidualNormBackward;
struct UpdateControl;
struct UpdateControlOptions;
struct VocabularyPart;

// A backend's body, timed under the operator's name while a profiler is at work.
template <class... Rest>
class BackendCall {
 public:
  BackendCall(void (*body)(const Context&, Rest...), std::string_view operation)
      : body_(body), operation_(operation) {}
  void operator()(const Context& context, Rest... rest) const {
    const ProfiledCall timed(operation_, context.stream);
    body_(context, rest...);
  }

 private:
  void (*body_)(const Context&, Rest...);
  std::string_view operation_;
};

// on_device(c.device, cpu::matmul, cuda::matmul)(context, a, b, c, options)
template <class... Rest>
BackendCall<Rest...> on_device(Device device, void (*cpu)(const Context&, Rest...),
                               void (*cuda)(const Context&, Rest...),
                               const char* caller = __builtin_FUNCTION()) {
  return {device == Device::cpu ? cpu : cuda, caller};
}
template <class... Parameters>
auto on_device(Device device, void (*cpu)(Parameters...), void (*cuda)(Parameters...)) {
  return device == Device::cpu ? cpu : cuda;
}

#define SWITCHYARD_DECLARE_OPERATORS                                                               \
  void matmul(const Context&, const Tensor& a, const Tensor& b, const Tensor& c,                   \
              const MatmulOptions&);                                                               \
  void attention_forward(const Context&, const Tensor& q, const Tensor& k, const Tensor& v,        \
                         const Tensor& out, const Tensor& log_sum, const AttentionOptions&);       \
  void attention_backward(const Context&, const AttentionBackward&, const AttentionOptions&);      \
  void residual_norm_forward(const Context&, const ResidualNorm&);                                 \
  void residual_norm_backward(const Context&, const ResidualNormBackward&);                        \
  void dropout(const Context&, const Tensor& x, const Tensor& y, const Dropout&);                  \
  void activation_forward(const Context&, Activation, const Tensor& x, const Tensor& y);           \
  void activation_backward(const Context&, Activation, const Tensor& x, const Tensor& dy,          \
                           const Tensor& dx);                                                      \
  void rotary_table(const Tensor& table, std::span<const double> frequencies);                     \
  void rotary(const Context&, const Tensor& x, const Tensor& table, const Tensor& positions,       \
              bool inverse);                                                                       \
  void embedding_forward(const Context&, const Tensor& ids, const Tensor& table,                   \
                         int64_t first_row, const Tensor& y);                                      \
  void embedding_backward(const Context&, const Tensor& ids, const Tensor& dy, int64_t first_row,  \
                          const Tensor& dtable);                                                   \
  void position_embedding_forward(const Context&, const Tensor& table, int64_t first,              \
                                  const Tensor& x);                                                \
  void position_embedding_backward(const Context&, const Tensor& dx, int64_t first,                \
                                   const Tensor& dtable);                                          \
  void cross_entropy_statistics(const Context&, const Tensor& logits, const Tensor& targets,       \
                                const VocabularyPart&, const Tensor& statistics);                  \
  void cross_entropy_combine(const Context&, const Tensor& statistics, const Tensor& targets,      \
                             const Tensor& log_sum, const Tensor& loss);                           \
  void cross_entropy_gradient(const Context&, const Tensor& logits, const Tensor& targets,         \
                              const VocabularyPart&, const Tensor& log_sum, const GradientScale&); \
  void cross_entropy(const Context&, const Tensor& logits, const Tensor& targets,                  \
                     const VocabularyPart&, const Tensor& loss, const GradientScale&);             \
  void adamw(const Context&, const AdamWTensors&, const Tensor& scalars, const AdamWOptions&);     \
  void move_towards(const Context&, const Tensor& x, double share, const Tensor& mean);            \
  void add_to_sum(const Context&, const Tensor& x, const Tensor& sum);                             \
  void mean_of_sum(const Context&, const Tensor& sum, int64_t count, const Tensor& mean);          \
  void mean_of_ring(const Context&, const Tensor& ring, int64_t first, int64_t count,              \
                    const Tensor& mean);                                                           \
  void fill(const Context&, const Tensor& x, float value);                                         \
  void copy(const Context&, const Tensor& from, const Tensor& to);                                 \
  void cast(const Context&, const Tensor& from, const Tensor& to);                                 \
  void add(const Context&, const Tensor& x, const Tensor& y, const Tensor& sum);                   \
  void column_sum(const Context&, const Tensor& x, const Tensor& sums);                            \
  void iota(const Context&, const Tensor& x, int64_t first);                                       \
  void sum_of_squares(const Context&, const Tensor& x, const Tensor& total);                       \
  void sum(const Context&, const Tensor& x, const Tensor& total);                                  \
  void update_control(const Context&, const UpdateControl&, const UpdateControlOptions&)

namespace cpu {
SWITCHYARD_DECLARE_OPERATORS;
}
namespace cuda {
SWITCHYARD_DECLARE_OPERATORS;
void prepare_attention(const Context&, const AttentionBackward&, const AttentionOptions&);
}  // namespace cuda

#undef SWITCHYARD_DECLARE_OPERATORS

}  // namespace switchyard::ops
