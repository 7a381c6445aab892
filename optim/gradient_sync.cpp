#include "optim/gradient_sync.h"

#include <algorithm>

#include "core/error.h"
#include "core/ops/elementwise.h"

namespace switchyard {

GradientSync::GradientSync(FlatBuffers& buffers, const Mesh& mesh, ops::Context context)
    : buffers_(buffers),
      mesh_(mesh),
      context_(context),
      ready_(buffers.parameters().size(), 1),
      bucket_of_(buffers.parameters().size(), 0),
      missing_(buffers.buckets().size(), 0),
      handles_(buffers.buckets().size()),
      gathers_(buffers.buckets().size()) {
  const FlatBuffers::Options& options = buffers.options();
  check(options.dp == mesh.dp->size() && options.dp_rank == mesh.dp->rank(), "GradientSync",
        "buffers for rank {} of {} on the data-parallel rank {} of {}; both must agree",
        options.dp_rank, options.dp, mesh.dp->rank(), mesh.dp->size());
  for (size_t b = 0; b < buffers.buckets().size(); ++b) {
    const Bucket& bucket = buffers.buckets()[b];
    for (const int i : bucket.parameters) bucket_of_[static_cast<size_t>(i)] = b;
    check(bucket.kind != BucketKind::tied || mesh.embedding, "GradientSync",
          "a tied parameter on stage {} of {}; only the first and the last may hold one",
          mesh.place.pp, mesh.layout.pp);
  }
  if (!options.gradients) return;
  find_added();
  find_fused_replicas();
}

// Keys and values lie next to each other: one stretch for both.
void GradientSync::find_fused_replicas() {
  int replicas = 1;
  for (const Parameter& p : buffers_.parameters()) {
    if (!p.fused || p.replicas == 1) continue;
    check(mesh_.tp->size() % p.replicas == 0 && (replicas == 1 || p.replicas == replicas),
          "GradientSync", "{} has {} replicas; others have {}, and tp is {}", p.name, p.replicas,
          replicas, mesh_.tp->size());
    replicas = p.replicas;
  }
  if (replicas == 1) return;
  if (replicas < mesh_.tp->size()) {
    replicas_ = mesh_.tp->split(mesh_.tp->rank() / replicas, mesh_.tp->rank(), "replicas");
  }
  int64_t begin = 0, end = 0;
  const auto close = [&] {
    if (begin < end) fused_.push_back(buffers_.gradients().slice(0, begin, end));
  };
  for (const OwnedSegment& s : buffers_.owned()) {
    const Parameter& p = buffers_.parameters()[static_cast<size_t>(s.parameter)];
    if (!p.fused || p.replicas == 1) continue;
    if (s.flat_begin != end) {
      close();
      begin = s.flat_begin;
    }
    end = s.flat_begin + s.elements;
  }
  close();
  sums_.resize(fused_.size());
}

// Parameters in order of their place; a stretch goes over gaps, which are zero anyway.
void GradientSync::find_added() {
  const auto parameters = buffers_.parameters();
  const Tensor& flat = buffers_.gradients();
  int64_t begin = 0, end = 0;
  const auto close = [&] {
    if (begin < end) added_.push_back(flat.slice(0, begin, end));
  };
  for (const Bucket& bucket : buffers_.buckets()) {
    for (const int i : bucket.parameters) {
      const Parameter& p = parameters[static_cast<size_t>(i)];
      const int64_t offset = p.gradient.as<float>() - flat.as<float>();
      if (p.gradient_overwritten) {
        close();
        begin = end = 0;
        continue;
      }
      if (begin == end) begin = offset;
      end = offset + p.local.elements();
    }
  }
  close();
}

void GradientSync::begin_step() {
  check(buffers_.options().gradients, "GradientSync", "the buffers were made without gradients");
  for (const Tensor& part : added_) ops::fill(context_, part, 0.0f);
  std::fill(ready_.begin(), ready_.end(), uint8_t{0});
  for (size_t b = 0; b < missing_.size(); ++b) {
    missing_[b] = buffers_.buckets()[b].parameters.size();
  }
}

void GradientSync::parameter_ready(int parameter) {
  check(parameter >= 0 && static_cast<size_t>(parameter) < ready_.size(), "GradientSync",
        "parameter {} is ready; 0 ... {} are known", parameter,
        static_cast<int64_t>(ready_.size()) - 1);
  const auto i = static_cast<size_t>(parameter);
  check(ready_[i] == 0, "GradientSync",
        "{} became ready twice in a step, or before begin_step; once is allowed",
        buffers_.parameters()[i].name);
  ready_[i] = 1;
  const size_t b = bucket_of_[i];
  if (--missing_[b] == 0 && buffers_.buckets()[b].kind != BucketKind::replicated) start_bucket(b);
}

Buffer GradientSync::whole(const Tensor& flat, const Bucket& bucket) const {
  return flat.slice(0, bucket.begin, bucket.end);
}

void GradientSync::start_bucket(size_t b) {
  const Bucket& bucket = buffers_.buckets()[b];
  const Tensor& flat = buffers_.gradients();
  handles_[b] =
      mesh_.dp->reduce_scatter(whole(flat, bucket), buffers_.own_part(flat, bucket), ReduceOp::sum,
                               context_.stream, {"reduce-scatter of gradients"});
}

void GradientSync::wait_all() {
  for (std::vector<Handle>* handles : {&handles_, &sums_}) {
    for (Handle& handle : *handles) {
      handle.wait(context_.stream);
      handle = Handle();
    }
  }
}

void GradientSync::sum_replicated_over_tp() {
  const auto& buckets = buffers_.buckets();
  for (size_t b = 0; b < buckets.size(); ++b) {
    if (buckets[b].kind != BucketKind::replicated) continue;
    handles_[b] = mesh_.tp->all_reduce(whole(buffers_.gradients(), buckets[b]), ReduceOp::sum,
                                       context_.stream, {"all-reduce of replicated gradients"});
  }
  for (size_t b = 0; b < buckets.size(); ++b) {
    if (buckets[b].kind != BucketKind::replicated) continue;
    handles_[b].wait(context_.stream);
    start_bucket(b);
  }
}

void GradientSync::sum_tied_over_stages() {
  const auto& buckets = buffers_.buckets();
  for (size_t b = 0; b < buckets.size(); ++b) {
    if (buckets[b].kind != BucketKind::tied) continue;
    handles_[b] = mesh_.embedding->all_reduce(buffers_.own_part(buffers_.gradients(), buckets[b]),
                                              ReduceOp::sum, context_.stream,
                                              {"all-reduce of tied gradients"});
  }
}

void GradientSync::sum_fused_over_replicas() {
  Communicator& group = replicas_ ? *replicas_ : *mesh_.tp;
  for (size_t i = 0; i < fused_.size(); ++i) {
    sums_[i] = group.all_reduce(fused_[i], ReduceOp::sum, context_.stream,
                                {"all-reduce of shared keys' and values' gradients"});
  }
}

void GradientSync::finish() {
  const auto absent = std::find(ready_.begin(), ready_.end(), uint8_t{0});
  if (absent != ready_.end()) {
    fail("GradientSync", "the step ends and {} is not ready; every parameter must be",
         buffers_.parameters()[static_cast<size_t>(absent - ready_.begin())].name);
  }
  sum_replicated_over_tp();
  wait_all();
  sum_tied_over_stages();
  sum_fused_over_replicas();
  wait_all();
}

void GradientSync::gather_bucket(size_t b) {
  const Bucket& bucket = buffers_.buckets()[b];
  const Tensor& flat = buffers_.weights();
  check(!gathers_[b], "GradientSync", "weights are gathered while they still arrive");
  gathers_[b] = mesh_.dp->all_gather(buffers_.own_part(flat, bucket), whole(flat, bucket),
                                     context_.stream, {"all-gather of weights"});
}

// Buckets lie in the order of backward, those that all layers need behind them.
void GradientSync::start_gathering_weights() {
  for (size_t b = gathers_.size(); b-- > 0;) gather_bucket(b);
}

void GradientSync::weights_needed(int parameter) {
  check(parameter >= 0 && static_cast<size_t>(parameter) < bucket_of_.size(), "GradientSync",
        "parameter {} is needed; 0 ... {} are known", parameter,
        static_cast<int64_t>(bucket_of_.size()) - 1);
  Handle& gather = gathers_[bucket_of_[static_cast<size_t>(parameter)]];
  gather.wait(context_.stream);
  gather = Handle();
}

void GradientSync::wait_for_weights() {
  for (size_t b = gathers_.size(); b-- > 0;) {
    gathers_[b].wait(context_.stream);
    gathers_[b] = Handle();
  }
}

void GradientSync::gather_weights() {
  start_gathering_weights();
  wait_for_weights();
}

}  // namespace switchyard
