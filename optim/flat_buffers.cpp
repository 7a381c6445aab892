#include "optim/flat_buffers.h"

#include <algorithm>
#include <numeric>
#include <utility>

#include "core/error.h"

namespace switchyard {

namespace {

constexpr int64_t alignment = 16;  // elements: 64 bytes of f32

int64_t round_up(int64_t n, int64_t multiple) { return (n + multiple - 1) / multiple * multiple; }

BucketKind kind_of(const Parameter& p) {
  if (p.tied) return BucketKind::tied;
  return p.replicas > 1 && !p.fused ? BucketKind::replicated : BucketKind::weights;
}

void check_parameter(const Parameter& p) {
  const int rank = p.local.rank();
  check(rank == 1 || rank == 2, "FlatBuffers", "{} is stored as {}; 1 or 2 axes are allowed",
        p.name, p.local.to_string());
  check(!(p.tied && p.replicas > 1), "FlatBuffers",
        "{} is both tied and replicated; it can be one of the two", p.name);
  if (p.box.empty()) return;
  const bool fits = p.box.extent.rank() == rank && p.local[0] >= p.box.extent[0] &&
                    (rank == 1 || p.local[1] == p.box.extent[1]);
  check(fits, "FlatBuffers",
        "{} is stored as {} and covers a box of {}; equal columns and no fewer rows are needed",
        p.name, p.local.to_string(), p.box.extent.to_string());
}

bool fuse(const Parameter& a, const Parameter& b) {
  return a.layer == b.layer && a.local.rank() == b.local.rank() &&
         (a.local.rank() == 1 || a.local[1] == b.local[1]);
}

struct FlatLayout {
  std::vector<Bucket> buckets;
  std::vector<int64_t> offsets;  // of each parameter
  int64_t elements = 0;
};

// Lays out the parameters of one kind, with weight decay or without, in the order given, from the
// layout's end on.
void lay_out_kind(FlatLayout& layout, std::span<const Parameter> parameters,
                  std::span<const int> order, BucketKind kind, bool decay,
                  const FlatBuffers::Options& options) {
  const auto close = [&] {
    Bucket& bucket = layout.buckets.back();
    layout.elements =
        bucket.begin + round_up(layout.elements - bucket.begin, options.dp * alignment);
    bucket.end = layout.elements;
  };
  const auto kind_end = layout.buckets.size();
  int previous = -1;
  for (const int i : order) {
    const Parameter& p = parameters[static_cast<size_t>(i)];
    if (kind_of(p) != kind || p.decay != decay) continue;
    const bool fused =
        previous >= 0 && i == previous + 1 && fuse(parameters[static_cast<size_t>(previous)], p);
    const bool first = layout.buckets.size() == kind_end;
    if (!fused) layout.elements = round_up(layout.elements, alignment);
    if (first ||
        (!fused && layout.elements - layout.buckets.back().begin >= options.bucket_elements)) {
      if (!first) close();
      layout.buckets.push_back(
          {.kind = kind, .begin = layout.elements, .end = 0, .parameters = {}});
    }
    layout.buckets.back().parameters.push_back(i);
    layout.offsets[static_cast<size_t>(i)] = layout.elements;
    layout.elements += p.local.elements();
    previous = i;
  }
  if (layout.buckets.size() > kind_end) close();
}

FlatLayout lay_out(std::span<const Parameter> parameters, const FlatBuffers::Options& options) {
  check(options.dp >= 1 && options.dp_rank >= 0 && options.dp_rank < options.dp, "FlatBuffers",
        "data-parallel rank {} of {}; 0 <= rank < size is needed", options.dp_rank, options.dp);
  check(options.bucket_elements >= 1, "FlatBuffers", "buckets of {} elements; at least 1 is needed",
        options.bucket_elements);
  for (const Parameter& p : parameters) check_parameter(p);
  std::vector<int> order(parameters.size());
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(), [&](int a, int b) {
    return parameters[static_cast<size_t>(a)].layer > parameters[static_cast<size_t>(b)].layer;
  });
  FlatLayout layout;
  layout.offsets.resize(parameters.size());
  for (const BucketKind kind : {BucketKind::weights, BucketKind::tied, BucketKind::replicated}) {
    for (const bool decay : {true, false}) {
      lay_out_kind(layout, parameters, order, kind, decay, options);
    }
  }
  return layout;
}

std::byte* address(const Tensor& tensor, int64_t element) {
  return static_cast<std::byte*>(tensor.data) + element * size_of(tensor.dtype);
}

}  // namespace

FlatBuffers::FlatBuffers(std::span<Parameter> parameters, const Options& options)
    : options_(options), parameters_(parameters) {
  FlatLayout layout = lay_out(parameters, options);
  buckets_ = std::move(layout.buckets);
  find_owned(layout.offsets);

  const Shape flat{layout.elements};
  weight_arena_ = Arena("weights", Arena::footprint(flat, options.dtype), options.device);
  weights_ = weight_arena_.allocate(flat, options.dtype, "flat weights");
  if (options.gradients) {
    gradient_arena_ = Arena("gradients", Arena::footprint(flat, DType::f32), options.device);
    gradients_ = gradient_arena_.allocate(flat, DType::f32, "flat gradients");
  }
  for (size_t i = 0; i < parameters.size(); ++i) {
    Parameter& p = parameters[i];
    p.weight = Tensor(address(weights_, layout.offsets[i]), options.dtype, p.local, options.device);
    p.gradient = options.gradients ? Tensor(address(gradients_, layout.offsets[i]), DType::f32,
                                            p.local, options.device)
                                   : Tensor();
  }
}

void FlatBuffers::find_owned(std::span<const int64_t> offsets) {
  for (const Bucket& bucket : buckets_) {
    const int64_t size = bucket.shard_elements(options_.dp);
    const int64_t own_begin = bucket.begin + options_.dp_rank * size;
    for (const int i : bucket.parameters) {
      const int64_t offset = offsets[static_cast<size_t>(i)];
      const int64_t elements = parameters_[static_cast<size_t>(i)].local.elements();
      const int64_t begin = std::max(offset, own_begin);
      const int64_t end = std::min(offset + elements, own_begin + size);
      if (begin >= end) continue;
      owned_.push_back({.parameter = i,
                        .parameter_begin = begin - offset,
                        .flat_begin = begin,
                        .shard_begin = shard_elements_ + begin - own_begin,
                        .elements = end - begin});
    }
    shard_elements_ += size;
  }
}

Tensor FlatBuffers::own_part(const Tensor& flat, const Bucket& bucket) const {
  const int64_t size = bucket.shard_elements(options_.dp);
  const int64_t begin = bucket.begin + options_.dp_rank * size;
  return flat.slice(0, begin, begin + size);
}

std::vector<Piece> FlatBuffers::pieces(int parameter, const Tensor& tensor,
                                       int64_t OwnedSegment::*where) const {
  const Box& box = parameters_[static_cast<size_t>(parameter)].box;
  std::vector<Piece> result;
  for (const OwnedSegment& segment : owned_) {
    if (segment.parameter != parameter) continue;
    const int64_t stored = box.empty() ? 0 : box.extent.elements();
    const int64_t end = std::min(segment.parameter_begin + segment.elements, stored);
    if (segment.parameter_begin >= end) continue;
    int64_t element = segment.*where;
    for (const Box& part : boxes_of_flat_range(box, segment.parameter_begin, end)) {
      result.push_back({.box = part, .data = address(tensor, element)});
      element += part.extent.elements();
    }
  }
  return result;
}

std::vector<Piece> FlatBuffers::shard_pieces(int parameter, const Tensor& shard) const {
  check(shard.elements() == shard_elements_, "FlatBuffers",
        "a tensor of {} elements for a shard of {}", shard.elements(), shard_elements_);
  return pieces(parameter, shard, &OwnedSegment::shard_begin);
}

std::vector<Piece> FlatBuffers::flat_pieces(int parameter, const Tensor& flat) const {
  check(flat.elements() == weights_.elements(), "FlatBuffers",
        "a tensor of {} elements for flat buffers of {}", flat.elements(), weights_.elements());
  return pieces(parameter, flat, &OwnedSegment::flat_begin);
}

int64_t FlatBuffers::bytes_needed(std::span<const Parameter> parameters, const Options& options) {
  const Shape flat{lay_out(parameters, options).elements};
  return Arena::footprint(flat, options.dtype) +
         (options.gradients ? Arena::footprint(flat, DType::f32) : 0);
}

}  // namespace switchyard
