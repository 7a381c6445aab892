#include <algorithm>
#include <cerrno>
#include <cstring>

#include "core/error.h"
#include "parallel/comm/lost_peers.h"
#include "parallel/comm/rank_places.h"
#include "parallel/comm/tcp/network.h"

// What becomes of messages and of tasks, and what a rank that is gone means for them.
namespace switchyard {

void TcpNetwork::post(TcpMessage& message) {
  const auto& ranks = message.task->group_->self.world_ranks;
  const int peer = ranks[static_cast<size_t>(message.peer)];
  if (peer == world_rank_) return post_to_self(message);
  TcpLink* link = links_[static_cast<size_t>(peer)].get();
  const bool here = message.incoming && link->has_arrived(message.key);
  if ((!link->open() || link->ended()) && !here)
    return fail(*message.task, gone_[static_cast<size_t>(peer)], ExitCode::lost_peer);
  if (message.incoming)
    link->recv(message);
  else
    link->send(message);
  if (link->wants_to_write()) to_write_.push_back(link);
}

void TcpNetwork::post_to_self(TcpMessage& message) {
  ToSelf& waiting = to_self_[message.key];
  (message.incoming ? waiting.wanted : waiting.sent).push_back(&message);
  if (waiting.sent.empty() || waiting.wanted.empty()) return;
  TcpMessage &from = *waiting.sent.front(), &to = *waiting.wanted.front();
  waiting.sent.pop_front();
  waiting.wanted.pop_front();
  if (waiting.sent.empty() && waiting.wanted.empty()) to_self_.erase(message.key);
  if (from.bytes == to.bytes && to.bytes > 0)
    std::memcpy(to.data, from.data, static_cast<size_t>(to.bytes));
  done(from);
  if (from.bytes == to.bytes) return done(to);
  mismatch(to, from.bytes);
}

void TcpNetwork::done(TcpMessage& message) {
  if (message.done) return;
  message.done = true;
  if (--message.task->open_ == 0) ready_.push_back(message.task);
}

void TcpNetwork::mismatch(TcpMessage& message, int64_t sent) {
  fail(*message.task,
       fmt::format("rank {} sent {} bytes, {} were expected here; the operations do not match",
                   message.peer, sent, message.bytes),
       default_code());
}

void TcpNetwork::can_copy(TcpLink& link, TcpMessage& message, const Frame& offer) {
  to_copy_.push_back({.link = &link, .message = &message, .offer = offer});
}

void TcpNetwork::said_lost(int world_rank) {
  if (failure_.empty())
    fail_all(describe_cut_off(world_rank, "another rank's connection"), ExitCode::lost_peer);
}

// Its messages are forgotten, but for those that are being written: their connection goes on.
void TcpNetwork::fail(TcpTask& task, const std::string& why, ExitCode code) {
  if (!task.failure_.empty()) return;
  task.failure_ = why;
  task.failure_code_ = code;
  const auto& ranks = task.group_->self.world_ranks;
  for (TcpMessage& message : task.messages_) {
    if (message.done) continue;
    std::erase_if(to_copy_, [&](const Copy& each) { return each.message == &message; });
    const auto& link = links_[static_cast<size_t>(ranks[static_cast<size_t>(message.peer)])];
    if (link != nullptr && !link->forget(message)) continue;
    if (const auto waiting = to_self_.find(message.key); waiting != to_self_.end()) {
      std::erase(waiting->second.sent, &message);
      std::erase(waiting->second.wanted, &message);
    }
    message.done = true;
    --task.open_;
  }
  if (task.open_ == 0) ready_.push_back(&task);
}

void TcpNetwork::fail_all(const std::string& why, ExitCode code) {
  if (failure_.empty()) {
    failure_ = why;
    failure_code_ = code;
  }
  for (const auto& task : active_) fail(*task, failure_, failure_code_);
}

// It is missed by those alone that wait for it.
void TcpNetwork::said_end(TcpLink& link) {
  const int rank = link.world_rank();
  gone_[static_cast<size_t>(rank)] =
      describe_ranks(std::span(&rank, 1)) + " has ended without joining in";
  fail_those_that_wait_for(rank);
}

void TcpNetwork::fail_those_that_wait_for(int rank) {
  for (const auto& task : active_) {
    const auto& ranks = task->group_->self.world_ranks;
    const bool waits = std::ranges::any_of(task->messages_, [&](const TcpMessage& message) {
      return !message.done && ranks[static_cast<size_t>(message.peer)] == rank;
    });
    if (waits) fail(*task, gone_[static_cast<size_t>(rank)], ExitCode::lost_peer);
  }
}

void TcpNetwork::lose(TcpLink& link, int why) {
  const int rank = link.world_rank();
  link.close();
  if (link.ended()) return;
  for (const auto& other : links_) {
    if (!other || !other->open()) continue;
    other->say({.kind = FrameKind::lost, .number = static_cast<uint64_t>(rank)});
    to_write_.push_back(other.get());
  }
  if (!failure_.empty()) {  // the job is ending
    gone_[static_cast<size_t>(rank)] = failure_;
    return;
  }
  // Where the kernel has given up, nothing comes back through the cable.
  const bool silent = why == ETIMEDOUT || why == EHOSTUNREACH || why == ENETUNREACH;
  const auto what = silent ? describe_ranks(std::span(&rank, 1)) +
                                 " does not answer (stopped, or its node or cable is lost)"
                           : describe_cut_off(rank, "the connection");
  const auto& reason = gone_[static_cast<size_t>(rank)] =
      fmt::format("{}: {}", what, std::strerror(why));
  fail_all(reason, silent ? ExitCode::timed_out : ExitCode::lost_peer);
}

}  // namespace switchyard
