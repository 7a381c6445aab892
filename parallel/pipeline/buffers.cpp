#include "parallel/pipeline/buffers.h"

#include <algorithm>

#include "core/error.h"

namespace switchyard {

namespace {

std::vector<Tensor> allocate(const PipelineLink& link, int buffers, Arena& arena) {
  std::vector<Tensor> tensors;
  tensors.reserve(static_cast<size_t>(buffers));
  for (int i = 0; i < buffers; ++i) {
    tensors.push_back(arena.allocate(link.shape, link.dtype, link.label.what));
  }
  return tensors;
}

}  // namespace

PipelineInbox::PipelineInbox(const PipelineLink& link, int buffers, Arena& arena)
    : link_(link),
      buffers_(allocate(link, buffers, arena)),
      receives_(buffers_.size()),
      taken_(buffers_.size()) {}

void PipelineInbox::begin(int microbatches) {
  buffer_of_.assign(static_cast<size_t>(microbatches), absent);
  expected_.clear();
  next_ = 0;
  ++runs_;
  under_way_ = 0;
  free_.clear();
  for (size_t i = buffers_.size(); i-- > 0;) free_.push_back(static_cast<int>(i));
}

void PipelineInbox::expect(int microbatch) {
  check(!buffers_.empty(), link_.label.what, "expected for microbatch {}, from no stage",
        microbatch);
  check(!expects(microbatch), link_.label.what, "received twice for microbatch {}", microbatch);
  buffer_of_[static_cast<size_t>(microbatch)] = not_posted;
  expected_.push_back(microbatch);
}

size_t PipelineInbox::most_ahead() const {
  if (link_.stream->device() == Device::cpu) return buffers_.size();
  constexpr int first_runs = 2;  // a rehearsal and a step of training
  return runs_ > first_runs ? 1 : 0;
}

void PipelineInbox::post_ahead() {
  if (!buffers_.empty()) post(most_ahead());
}

void PipelineInbox::post(size_t most) {
  for (; under_way_ < most && !free_.empty() && next_ < expected_.size(); ++under_way_) {
    const auto buffer = static_cast<size_t>(free_.back());
    free_.pop_back();
    buffer_of_[static_cast<size_t>(expected_[next_++])] = static_cast<int>(buffer);
    taken_[buffer] = 0;
    receives_[buffer] = link_.group->recv(buffers_[buffer], link_.peer, *link_.stream, link_.label);
  }
}

Tensor PipelineInbox::take(int microbatch) {
  if (state(microbatch) == not_posted) post(1);
  check(state(microbatch) >= 0, link_.label.what,
        "wanted for microbatch {} while all {} buffers hold others; more slots are needed",
        microbatch, buffers_.size());
  const auto buffer = static_cast<size_t>(state(microbatch));
  if (taken_[buffer] == 0) {
    receives_[buffer].wait(*link_.stream);
    taken_[buffer] = 1;
    --under_way_;
    post_ahead();
  }
  return buffers_[buffer];
}

void PipelineInbox::release(int microbatch) {
  free_.push_back(state(microbatch));
  buffer_of_[static_cast<size_t>(microbatch)] = absent;
  post_ahead();
}

void PipelineInbox::finish() const {
  const auto left = std::find_if(expected_.begin(), expected_.end(),
                                 [&](int microbatch) { return expects(microbatch); });
  if (left != expected_.end()) {
    fail(link_.label.what, "received for microbatch {}, which is never computed", *left);
  }
}

PipelineOutbox::PipelineOutbox(const PipelineLink& link, int buffers, Arena& arena)
    : link_(link),
      buffers_(allocate(link, buffers, arena)),
      sends_(buffers_.size()),
      written_for_(buffers_.size(), nobody) {}

void PipelineOutbox::begin(int microbatches) {
  planned_.assign(static_cast<size_t>(microbatches), uint8_t{0});
  std::fill(written_for_.begin(), written_for_.end(), nobody);
}

Tensor PipelineOutbox::prepare(int microbatch) {
  check(!buffers_.empty(), link_.label.what, "of microbatch {} are for no stage", microbatch);
  const size_t buffer = turn_;
  check(written_for_[buffer] == nobody, link_.label.what,
        "of microbatch {} are computed before those of {} were sent; at most {} may wait",
        microbatch, written_for_[buffer], buffers_.size());
  turn_ = (turn_ + 1) % buffers_.size();
  sends_[buffer].wait(*link_.stream);
  written_for_[buffer] = microbatch;
  return buffers_[buffer];
}

void PipelineOutbox::send(int microbatch) {
  const auto found = std::find(written_for_.begin(), written_for_.end(), microbatch);
  check(found != written_for_.end(), link_.label.what,
        "of microbatch {} are sent before they are computed", microbatch);
  *found = nobody;
  const auto buffer = static_cast<size_t>(found - written_for_.begin());
  sends_[buffer] = link_.group->send(buffers_[buffer], link_.peer, *link_.stream, link_.label);
}

void PipelineOutbox::finish() {
  for (Handle& send : sends_) send.wait(*link_.stream);
}

}  // namespace switchyard
