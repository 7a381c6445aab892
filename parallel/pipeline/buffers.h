#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "core/memory.h"
#include "parallel/comm/communicator.h"

namespace switchyard {

// What the mailboxes of a pipeline rank have in common: a neighbour and what passes between.
struct PipelineLink {
  Communicator* group = nullptr;
  int peer = 0;
  Stream* stream = nullptr;
  Shape shape;  // of each message
  DType dtype = DType::f32;
  Label label;
};

// Messages from one neighbour, one for each expected microbatch, in their order. On the host
// receives are posted as far ahead as there are free buffers, so that a sender need not wait for
// this rank. On a GPU a receive is a kernel that waits for its sender there, so one at most is
// under way: a second would wait behind it, and with it, where streams share a connection to the
// GPU, all that is queued later, the work that the sender waits for included. In the first runs
// none is posted ahead: what first uses do (free memory, load kernels) may wait for the whole GPU.
class PipelineInbox {
 public:
  PipelineInbox() = default;
  PipelineInbox(const PipelineLink& link, int buffers, Arena& arena);
  void begin(int microbatches);  // none expected so far
  void expect(int microbatch);
  bool expects(int microbatch) const { return state(microbatch) != absent; }
  void post_ahead();
  Tensor take(int microbatch);   // waits, posts the next; the message stays in place until release
  void release(int microbatch);  // and posts the next receive into its buffer
  void finish() const;           // throws if a message was not taken and released

 private:
  static constexpr int absent = -2, not_posted = -1;  // else the index of its buffer
  int state(int microbatch) const { return buffer_of_[static_cast<size_t>(microbatch)]; }
  size_t most_ahead() const;
  void post(size_t most);  // until so many are under way

  PipelineLink link_;
  std::vector<Tensor> buffers_;
  std::vector<Handle> receives_;  // of each buffer
  std::vector<uint8_t> taken_;    // of each buffer: whether its message was
  int runs_ = 0;
  size_t under_way_ = 0;  // receives posted and not taken
  std::vector<int> free_;
  std::vector<int> buffer_of_;  // of each microbatch
  std::vector<int> expected_;   // microbatches in order
  size_t next_ = 0;             // the first of them that is not posted
};

// Messages to one neighbour. A buffer is used again when its send has finished.
class PipelineOutbox {
 public:
  PipelineOutbox() = default;
  PipelineOutbox(const PipelineLink& link, int buffers, Arena& arena);
  void begin(int microbatches);
  void expect(int microbatch) { planned_[static_cast<size_t>(microbatch)] = 1; }
  bool expects(int microbatch) const { return planned_[static_cast<size_t>(microbatch)] != 0; }
  Tensor prepare(int microbatch);  // where to write its message
  void send(int microbatch);
  void finish();  // waits for all sends

 private:
  static constexpr int nobody = -1;

  PipelineLink link_;
  std::vector<Tensor> buffers_;
  std::vector<Handle> sends_;     // of each buffer
  std::vector<int> written_for_;  // microbatch whose message waits there to be sent
  std::vector<uint8_t> planned_;  // of each microbatch
  size_t turn_ = 0;
};

}  // namespace switchyard
