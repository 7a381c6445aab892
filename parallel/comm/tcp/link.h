#pragma once

#include <deque>
#include <map>
#include <string>
#include <vector>

#include "parallel/comm/tcp/frame.h"
#include "parallel/comm/tcp/peer.h"
#include "parallel/comm/tcp/task.h"

namespace switchyard {

class TcpLink;

// What a link tells of; called while the network is driven.
class LinkEvents {
 public:
  virtual ~LinkEvents() = default;
  virtual void done(TcpMessage& message) = 0;
  virtual void mismatch(TcpMessage& message, int64_t sent) = 0;
  // A message that may be copied out of the sender's memory, when there is time for it.
  virtual void can_copy(TcpLink& link, TcpMessage& message, const Frame& offer) = 0;
  virtual void said_lost(int world_rank) = 0;
  virtual void said_end(TcpLink& link) = 0;
};

// The connection to one other rank: messages that wait to be sent or taken, and the bytes between.
// Nothing here blocks.
class TcpLink {
 public:
  TcpLink(int world_rank, TcpPeer peer, LinkEvents& events);
  int world_rank() const { return world_rank_; }
  int descriptor() const { return socket_.descriptor(); }
  bool ended() const { return ended_; }  // in order
  bool open() const { return static_cast<bool>(socket_); }
  void close();

  void send(TcpMessage& message);
  void recv(TcpMessage& message);
  void say(const Frame& frame) { queue_.push_back({.frame = frame}); }
  // Whether what a receive wants has come, or its offer.
  bool has_arrived(const FrameKey& key) const;
  void copy(TcpMessage& message, const Frame& offer);
  // Forgets it, and returns true, unless its bytes are about to be written: then it has to stay.
  bool forget(TcpMessage& message);

  // As far as the socket allows; false when the connection is gone (errno says why).
  bool write();
  bool read();
  bool wants_to_write() const { return writing_ || !queue_.empty() || !long_.empty(); }
  bool registered_for_writing = false;  // the network's note

 private:
  struct Outgoing {
    Frame frame;
    TcpMessage* message = nullptr;  // done when this is written
    const std::byte* data = nullptr;
    int64_t written = 0;  // of frame and data
    int64_t bytes() const { return data == nullptr ? 0 : frame.bytes; }
  };
  // What came before it was wanted: a message with its bytes, or an offer.
  struct Arrival {
    Frame frame;
    std::vector<std::byte> bytes;
  };
  struct Slot {
    std::deque<TcpMessage*> wanted;
    std::deque<Arrival> arrived;
  };

  static constexpr int64_t staging_bytes = 1 << 17;

  bool choose_next();
  void finish_frame();
  int64_t parse(const std::byte* data, int64_t bytes);
  void begin_frame();
  void take_bytes(const std::byte* from, int64_t bytes);
  void end_frame();
  void begin_message();
  void end_message();
  void accept(TcpMessage& message, const Frame& offer);
  void ask_for(TcpMessage& message, const Frame& offer);
  TcpMessage* next_wanted(const FrameKey& key);
  void note_end(const Frame& frame);

  const int world_rank_;
  TcpSocket socket_;
  int64_t readable_process_ = 0;
  LinkEvents& events_;
  bool ended_ = false;

  std::deque<Outgoing> queue_;
  std::deque<TcpMessage*> long_;  // asked for; they take turns
  bool writing_ = false;
  Outgoing current_;
  std::map<uint64_t, TcpMessage*> offered_;
  uint64_t offers_ = 0;

  std::map<FrameKey, Slot> slots_;
  std::map<uint64_t, TcpMessage*> accepted_;  // null: not wanted any more
  std::vector<std::byte> staging_;
  int64_t staged_ = 0;
  bool in_frame_ = false;
  Frame incoming_;
  int64_t left_ = 0;                 // bytes of it that are to come
  std::byte* target_ = nullptr;      // of the next of them; null: to nowhere
  TcpMessage* into_ = nullptr;       // whose they are
  std::vector<std::byte> unwanted_;  // theirs, where nobody waits for them yet
};

}  // namespace switchyard
