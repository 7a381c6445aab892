#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "core/memory.h"
#include "parallel/parameter.h"

namespace switchyard {

// A stretch [begin, end) of the flat buffers, a multiple of dp * 16 elements, that is reduced and
// gathered as one. Each dp rank owns an equal part of it.
enum class BucketKind : uint8_t {
  weights,     // split over tp, with fused replicas, or whole where tp is 1; in order of backward
  replicated,  // norms and biases on every tp rank: summed over tp first
  tied,        // the embedding shared by first and last stage, the same on both
};
struct Bucket {
  BucketKind kind = BucketKind::weights;
  int64_t begin = 0;
  int64_t end = 0;
  std::vector<int> parameters;  // indices into the list of parameters
  int64_t shard_elements(int dp) const { return (end - begin) / dp; }
};

// Part of a parameter inside this rank's shard.
struct OwnedSegment {
  int parameter = 0;
  int64_t parameter_begin = 0;  // element of the local storage, row-major
  int64_t flat_begin = 0;       // element of the flat buffers
  int64_t shard_begin = 0;      // element of the shard: all owned parts of buckets, concatenated
  int64_t elements = 0;
};

// One flat buffer of weights and one of fp32 gradients for all parameters of a rank, cut into
// buckets: weights first, then tied, then replicated ones; in each of them first those with weight
// decay, so that the optimizer updates few long runs. Parameters of one layer and kind lie next to
// each other in the order given. Those that also follow each other in the list lie without
// gaps where their shapes agree in columns, so that q, k, v are one matrix to a product; each such
// group begins at a multiple of 16 elements. What lies between, and behind the last, stays zero.
class FlatBuffers {
 public:
  struct Options {
    int dp = 1;
    int dp_rank = 0;
    DType dtype = DType::f32;           // of the weights
    int64_t bucket_elements = 1 << 22;  // a bucket closes when it holds at least so many
    bool gradients = true;              // false: weights only (evaluation)
    Device device = Device::cpu;
  };
  // Binds weight and gradient of every parameter; the parameters must outlive this object. Layers
  // are laid out from the last to the first, so that backward fills buckets in order. Throws Error
  // for a parameter whose storage does not fit its box, or that is both tied and replicated.
  FlatBuffers(std::span<Parameter> parameters, const Options& options);

  const std::vector<Bucket>& buckets() const { return buckets_; }
  const std::vector<OwnedSegment>& owned() const { return owned_; }
  int64_t shard_elements() const { return shard_elements_; }
  const Tensor& weights() const { return weights_; }      // [elements]
  const Tensor& gradients() const { return gradients_; }  // [elements] f32
  // This rank's part of a bucket within a flat tensor (weights or gradients).
  Tensor own_part(const Tensor& flat, const Bucket& bucket) const;
  // What this rank owns of a parameter, in a tensor laid out as the shard (moments, master weights)
  // or as the flat buffers. Rows that pad the vocabulary are left out.
  std::vector<Piece> shard_pieces(int parameter, const Tensor& shard) const;
  std::vector<Piece> flat_pieces(int parameter, const Tensor& flat) const;
  // Bytes of both buffers for such parameters, whose weights need not be bound.
  static int64_t bytes_needed(std::span<const Parameter> parameters, const Options& options);
  const Options& options() const { return options_; }
  std::span<Parameter> parameters() const { return parameters_; }

 private:
  void find_owned(std::span<const int64_t> offsets);
  std::vector<Piece> pieces(int parameter, const Tensor& tensor,
                            int64_t OwnedSegment::*where) const;

  Options options_;
  std::span<Parameter> parameters_;
  std::vector<Bucket> buckets_;
  std::vector<OwnedSegment> owned_;
  int64_t shard_elements_ = 0;
  Arena weight_arena_, gradient_arena_;
  Tensor weights_, gradients_;
};

}  // namespace switchyard
