#include "core/ops/attention/arguments.h"
#include "core/ops/attention/mask.h"

namespace switchyard::cuda::attention {

namespace {

// mask [samples, heads, length, length]; thread by thread a pack, which `length` is a multiple of
// unless size is 1.
template <class T, int size>
__global__ void mask_kernel(T* mask, int64_t samples, int64_t heads, int64_t length,
                            Dropout dropout) {
  dropout.key = in_this_step(dropout.key);
  const int64_t packs = length / size;
  for (int64_t i = thread_index(); i < samples * heads * length * packs; i += thread_count()) {
    const int64_t key = i % packs * size, row = i / packs;
    const int64_t query = row % length, head = row / length % heads, sample = row / length / heads;
    const int64_t site =
        (dropout.first_sample + sample) * dropout.all_heads + dropout.first_head + head;
    const auto element =
        static_cast<uint64_t>((site * dropout.sequence + query) * dropout.sequence + key);
    const auto kept = [&](uint32_t word, int64_t at) {
      return from_float<T>(at <= query && word >= dropout.threshold ? 1.0f : 0.0f);
    };
    if constexpr (size == 1) {
      mask[i] = kept(key > query ? 0 : random_word(dropout.key, element), key);
    } else {
      Pack<T> pack = {};
      for (int part = 0; part < size && key <= query; part += 4) {
        const auto words = dropout.key.block((element + part) / 4);
        for (int e = 0; e < 4; ++e) pack[part + e] = kept(words[e], key + part + e);
      }
      store_pack(mask + i * size, pack);
    }
  }
}

}  // namespace

}  // namespace switchyard::cuda::attention

namespace switchyard::ops {

void attention_mask(const Context& context, const Tensor& mask, const AttentionOptions& options) {
  using namespace switchyard::cuda;
  const int64_t samples = mask.shape[0], heads = mask.shape[1], length = mask.shape[2];
  const attention::Dropout dropout = attention::dropout_of(options);
  with_floating(mask.dtype, [&]<class T>() {
    constexpr int size = Pack<T>::size;
    const bool in_packs = length % size == 0 && options.sequence_length % 4 == 0;
    const LaunchShape shape = flat_launch(mask.elements(), in_packs ? size : 1);
    launch("attention_mask",
           in_packs ? attention::mask_kernel<T, size> : attention::mask_kernel<T, 1>, shape,
           context.stream, mask.as<T>(), samples, heads, length, dropout);
  });
}

}  // namespace switchyard::ops
