#include "parallel/comm/device_reduction.h"

#include "core/cuda/kernel.h"
#include "parallel/comm/reduction.h"

namespace switchyard {

namespace {

using namespace switchyard::cuda;

struct Parts {
  const void* begin[most_reduced_parts];
  int count;
};

template <class T>
__device__ typename Accumulator<T>::type widened(T x) {
  return static_cast<typename Accumulator<T>::type>(x);
}

template <ReduceOp op, class T>
__device__ Pack<T> reduce_pack(const Parts& parts, int64_t pack) {
  using A = typename Accumulator<T>::type;
  constexpr int n = Pack<T>::size;
  A sum[n];
  Pack<T> p = load_pack(static_cast<const T*>(parts.begin[0]) + pack * n);
  for (int j = 0; j < n; ++j) sum[j] = widened(p[j]);
  for (int i = 1; i < parts.count; ++i) {
    p = load_pack(static_cast<const T*>(parts.begin[i]) + pack * n);
    for (int j = 0; j < n; ++j) sum[j] = combine<op>(sum[j], widened(p[j]));
  }
  for (int j = 0; j < n; ++j) p[j] = static_cast<T>(sum[j]);
  return p;
}

template <ReduceOp op, class T>
__device__ T reduce_one(const Parts& parts, int64_t element) {
  auto sum = widened(static_cast<const T*>(parts.begin[0])[element]);
  for (int i = 1; i < parts.count; ++i)
    sum = combine<op>(sum, widened(static_cast<const T*>(parts.begin[i])[element]));
  return static_cast<T>(sum);
}

// out[i] = parts[0][i] + parts[1][i] + ...; the first `packs` packs of 16 bytes at once.
template <ReduceOp op, class T>
__global__ void reduce_parts_kernel(const Parts parts, T* out, int64_t packs, int64_t count) {
  for (int64_t i = thread_index(); i < packs; i += thread_count())
    store_pack(out + i * Pack<T>::size, reduce_pack<op, T>(parts, i));
  for (int64_t i = packs * Pack<T>::size + thread_index(); i < count; i += thread_count())
    out[i] = reduce_one<op, T>(parts, i);
}

template <class T>
void reduce(const Parts& parts, T* out, int64_t count, ReduceOp op, Stream& stream) {
  bool packed = takes_packs<T>(out, 0);
  for (int i = 0; i < parts.count; ++i) packed = packed && takes_packs<T>(parts.begin[i], 0);
  const int64_t packs = packed ? count / Pack<T>::size : 0;
  const LaunchShape shape = flat_launch(count, packed ? Pack<T>::size : 1);
  if (op == ReduceOp::sum)
    launch("reduce_parts", reduce_parts_kernel<ReduceOp::sum, T>, shape, stream, parts, out, packs,
           count);
  else
    launch("reduce_parts", reduce_parts_kernel<ReduceOp::max, T>, shape, stream, parts, out, packs,
           count);
}

__global__ void poison_kernel(uint8_t* to, int64_t bytes) {
  for (int64_t i = thread_index(); i < bytes; i += thread_count()) to[i] = 0xff;
}

}  // namespace

void reduce_on_device(std::span<const void* const> parts, void* out, int64_t count, DType dtype,
                      ReduceOp op, Stream& stream) {
  if (parts.empty() || parts.size() > most_reduced_parts)
    throw_error("communicator", std::to_string(parts.size()) + " parts to reduce on a GPU; 1 to " +
                                    std::to_string(most_reduced_parts) + " are allowed");
  if (count == 0) return;
  Parts all{};
  all.count = static_cast<int>(parts.size());
  for (size_t i = 0; i < parts.size(); ++i) all.begin[i] = parts[i];
  switch (dtype) {
    case DType::f32:
      return reduce(all, static_cast<float*>(out), count, op, stream);
    case DType::bf16:
      return reduce(all, static_cast<bf16*>(out), count, op, stream);
    case DType::f16:
      return reduce(all, static_cast<f16*>(out), count, op, stream);
    case DType::f64:
      return reduce(all, static_cast<double*>(out), count, op, stream);
    case DType::i32:
      return reduce(all, static_cast<int32_t*>(out), count, op, stream);
    case DType::i64:
      return reduce(all, static_cast<int64_t*>(out), count, op, stream);
    case DType::u8:
      return reduce(all, static_cast<uint8_t*>(out), count, op, stream);
    case DType::u16:
      return reduce(all, static_cast<uint16_t*>(out), count, op, stream);
  }
}

void poison_on_device(void* to, int64_t bytes, Stream& stream) {
  if (bytes == 0) return;
  launch("poison", poison_kernel, flat_launch(bytes, 1), stream, static_cast<uint8_t*>(to), bytes);
}

}  // namespace switchyard
