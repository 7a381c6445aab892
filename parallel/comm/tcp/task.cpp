#include "parallel/comm/tcp/task.h"

#include <algorithm>
#include <set>
#include <thread>
#include <utility>

#include "core/error.h"
#include "parallel/comm/exchange_wait.h"

namespace switchyard {

namespace {

// A broadcast is passed on by ranks between, a long message asked for.
bool needs_turns(const Operation& operation) {
  return operation.kind == OperationKind::broadcast ||
         std::max(operation.in.bytes(), operation.out.bytes()) > whole_bytes / 4;
}

}  // namespace

TcpTask::TcpTask(std::shared_ptr<TcpGroup> group, const Operation& operation)
    : group_(std::move(group)), operation_(operation), in_background_(needs_turns(operation)) {}

TcpTask::~TcpTask() { group_->scratch.give_back(std::move(scratch_)); }

void TcpTask::add(TcpMessage message, int peer, int tag) {
  if (!failure_.empty()) return;
  message.task = this;
  message.peer = peer;
  message.key = {.group = group_->id, .tag = static_cast<uint32_t>(tag)};
  messages_.push_back(message);
  ++open_;
  if (begun_) group_->network.post(messages_.back());
}

void TcpTask::send(const void* data, int64_t bytes, int peer, int tag) {
  auto* bytes_of = const_cast<std::byte*>(static_cast<const std::byte*>(data));  // is only read
  add({.data = bytes_of, .bytes = bytes}, peer, tag);
}

void TcpTask::recv(void* data, int64_t bytes, int peer, int tag) {
  add({.data = static_cast<std::byte*>(data), .bytes = bytes, .incoming = true}, peer, tag);
}

std::byte* TcpTask::scratch(int64_t bytes) {
  if (bytes > 0) scratch_ = group_->scratch.take(bytes);
  return static_cast<std::byte*>(scratch_.data());
}

void TcpTask::post_all() {
  begun_ = true;
  for (const bool incoming : {false, true})  // what does not match is sent, so that both sides know
    for (TcpMessage& message : messages_)
      if (message.incoming == incoming && failure_.empty()) group_->network.post(message);
}

void TcpTask::go_on() {
  while (open_ == 0 && failure_.empty() && step_ < steps_.size()) {
    messages_.clear();
    try {
      steps_[step_++]();
    } catch (const std::exception& error) {
      group_->network.fail(*this, error.what(), code_of(error));
    }
  }
  if (open_ == 0) finished_.store(true, std::memory_order_release);
}

std::vector<int> TcpTask::missing() {
  std::set<int> peers;
  group_->network.hold([&] {
    for (const TcpMessage& message : messages_)
      if (!message.done) peers.insert(message.peer);
  });
  return world_ranks_of(group_->self, {peers.begin(), peers.end()});
}

void TcpTask::wait() {
  wait_for_exchange(group_->self, operation_,
                    {.wait = [&](auto turn) { return group_->network.wait(*this, turn); },
                     .missing = [&] { return missing(); },
                     .give_up = [&] { group_->network.give_up(); },
                     .timeout = group_->timeout});
  // Where a rank has ended with an error, its launcher gets a moment to end this one with that
  // rank's exit code.
  if (failure_code_ == ExitCode::lost_peer)
    std::this_thread::sleep_for(std::chrono::milliseconds(500));
  if (!failure_.empty()) fail_operation(group_->self, operation_, failure_, failure_code_);
  group_->scratch.give_back(std::exchange(scratch_, {}));
}

}  // namespace switchyard
