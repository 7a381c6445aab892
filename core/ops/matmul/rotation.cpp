#include "core/ops/matmul/rotation.h"

#include <algorithm>

#include "core/random.h"

namespace switchyard::ops {

namespace {

constexpr std::string_view where = "matmul tuning";
constexpr int64_t most_sets = 64;

// Normal numbers on the device, repeated into operands. Their count is odd, so that rows differ.
class Noise {
 public:
  Noise(const Context& context, DType dtype)
      : context_(context), numbers_(count * size_of(dtype), Device::cuda, where) {
    Memory host = Memory::pinned(numbers_.bytes(), where);
    const RandomKey key{1, 0, 1};
    for (int64_t i = 0; i < count; ++i) {
      const auto x = static_cast<float>(random_normal(key, static_cast<uint64_t>(i)));
      if (dtype == DType::f32) static_cast<float*>(host.data())[i] = x;
      if (dtype == DType::bf16) static_cast<bf16*>(host.data())[i] = bf16(x);
      if (dtype == DType::f16) static_cast<f16*>(host.data())[i] = f16(x);
    }
    copy_bytes(numbers_.data(), host.data(), numbers_.bytes(), context.stream);
    context.stream.synchronize();
  }

  void fill(char* to, int64_t bytes) const {
    for (int64_t done = 0; done < bytes; done += numbers_.bytes()) {
      copy_bytes(to + done, numbers_.data(), std::min(bytes - done, numbers_.bytes()),
                 context_.stream);
    }
  }

 private:
  static constexpr int64_t count = (1 << 19) + 1;
  const Context& context_;
  Memory numbers_;
};

int64_t align_up(int64_t bytes) { return (bytes + 255) / 256 * 256; }

}  // namespace

MatmulOperands::MatmulOperands(const MatmulProduct& p, char* memory) : memory_(memory), p_(p) {
  a = matrix(p.stored_rows_a(), p.transpose_a ? p.m : p.k, p.row_a, p.inputs, p.align_a);
  b = matrix(p.stored_rows_b(), p.transpose_b ? p.k : p.n, p.row_b, p.inputs, p.align_b);
  c = matrix(p.m, p.n, p.row_c, p.output, p.align_c);
  options.transpose_a = p.transpose_a;
  options.transpose_b = p.transpose_b;
  options.accumulate = p.accumulate;
  if (p.bias) options.bias = matrix(1, p.n, p.n, p.output, 16).view({p.n});
  if (p.gelu_input) options.gelu_input = gelu();
  if (p.gelu_gradient) options.gelu_gradient = gelu();
  if (p.row_sums) options.row_sums = matrix(1, p.m, p.m, DType::f32, 16).view({p.m});
}

// Its address is a multiple of `alignment` and of no greater power of two, up to 16.
Tensor MatmulOperands::matrix(int64_t rows, int64_t columns, int64_t row, DType dtype,
                              int alignment) {
  const int64_t begin = used_ + (alignment < 16 ? alignment : 0);
  used_ = align_up(begin + std::max<int64_t>(rows * row, columns) * size_of(dtype));
  Tensor t(memory_ + begin, dtype, {rows, columns}, Device::cuda);
  t.stride[0] = row;
  return t;
}

MatmulRotation::MatmulRotation(const Context& context, const MatmulProduct& product, int64_t bytes,
                               int64_t cold_bytes, int64_t room) {
  const int64_t wanted = std::min((cold_bytes + bytes - 1) / bytes, room / bytes);
  const int64_t sets = std::clamp<int64_t>(wanted, 1, most_sets);
  memory_ = Memory(sets * bytes, Device::cuda, where);
  fill(context, product, bytes);
  for (int64_t i = 0; i < sets; ++i) {
    sets_.emplace_back(product, static_cast<char*>(memory_.data()) + i * bytes);
  }
}

// 16-bit patterns of one dtype would be unlikely numbers of another: each tensor has its own.
void MatmulRotation::fill(const Context& context, const MatmulProduct& product, int64_t bytes) {
  const Noise inputs(context, product.inputs);
  auto* data = static_cast<char*>(memory_.data());
  inputs.fill(data, memory_.bytes());
  if (product.output != product.inputs) {
    const Noise outputs(context, product.output);
    for (int64_t set = 0; set < memory_.bytes(); set += bytes) {
      const MatmulOperands operands(product, data + set);
      auto* c = static_cast<char*>(operands.c.data);
      outputs.fill(c, data + set + bytes - c);  // c and all behind it
    }
    context.stream.synchronize();
  }
  context.stream.synchronize();
}

}  // namespace switchyard::ops
