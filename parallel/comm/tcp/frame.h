#pragma once

#include <cstdint>

namespace switchyard {

// What goes over a connection between two ranks: frames, some with bytes behind them. A message up
// to `whole_bytes` goes at once. A longer one is offered and goes when its receiver has asked for
// it, in pieces, so that others pass between them and none has to be kept before it is wanted; or
// its receiver, where it may, copies it out of the memory of the sender's process.
enum class FrameKind : uint32_t {
  message = 1,  // followed by its bytes
  offer,        // of a long message
  request,      // for the offered message `number`
  taken,        // that message, out of the sender's memory
  piece,        // of the message `number`, followed by its bytes
  end,          // this rank ends in order and sends no more
  lost,         // it has lost world rank `number`, and ends
};

// As it lies in memory: all ranks are of one kind of machine, which their greeting shows.
struct Frame {
  FrameKind kind = FrameKind::message;
  uint32_t tag = 0;
  uint64_t group = 0;
  int64_t bytes = 0;     // of the message; of a piece: of that
  uint64_t number = 0;   // of a long message, as its sender counts them on this connection
  uint64_t address = 0;  // of an offered message, in its sender's memory
};
static_assert(sizeof(Frame) == 40);

constexpr int64_t whole_bytes = 1 << 16;
constexpr int64_t piece_bytes = 1 << 20;

// The order in which messages match: those of one group and tag between two ranks.
struct FrameKey {
  uint64_t group = 0;
  uint32_t tag = 0;
  bool operator<(const FrameKey& other) const {
    return group != other.group ? group < other.group : tag < other.tag;
  }
};

}  // namespace switchyard
