#pragma once

#include <atomic>
#include <cstdint>
#include <string>

namespace switchyard::emulated {

// What the ranks of one emulated communicator share: a piece of memory under a name that all of
// them know. Counters only grow; what they guard lies in the slots behind them.
class Rendezvous {
 public:
  static constexpr int64_t slot_bytes = 256 << 10;    // of each rank, for collectives
  static constexpr int64_t mailbox_bytes = 64 << 10;  // of each ordered pair, for messages

  // What a rank says of the piece that it has put into its slot.
  struct Piece {
    int32_t kind = 0, root = 0;
    int32_t dtype = 0, reduce = 0;
    int64_t count = 0;  // elements of the whole operation
  };
  struct Wish {
    int32_t color = 0, key = 0;
  };
  struct Rank {
    std::atomic<int32_t> process;     // its id; 0 before it has come
    uint64_t gpu;                     // machine and device, hashed
    std::atomic<int32_t> closed;      // it has ended its communicator properly
    std::atomic<int32_t> aborted;     // or otherwise
    std::atomic<uint64_t> published;  // pieces put into its slot
    std::atomic<uint64_t> consumed;   // rounds of pieces that it has read
    std::atomic<uint64_t> splits;     // wishes made
    Wish wishes[2];                   // of this split and the one before
    Piece piece;
  };
  struct Mailbox {
    std::atomic<uint64_t> sent, taken;  // pieces
    int64_t bytes;                      // of the whole message
  };

  Rendezvous(std::string name, int size, int rank, uint64_t gpu);
  ~Rendezvous();
  Rendezvous(const Rendezvous&) = delete;
  Rendezvous& operator=(const Rendezvous&) = delete;

  bool all_have_come();
  // Another rank that uses this one's GPU, which NCCL refuses; -1 where there is none.
  int rank_of_same_gpu() const;
  // A rank whose process is gone although it has not closed; -1 where there is none.
  int lost_rank() const;
  // Whether every rank has ended its communicator, or is gone.
  bool all_have_left() const;
  Rank& of(int rank) const;
  std::byte* slot(int rank) const;
  Mailbox& mailbox(int from, int to) const;
  std::byte* letter(int from, int to) const;
  const std::string& name() const { return name_; }

 private:
  std::string name_;
  int size_;
  int rank_;
  size_t bytes_ = 0;
  std::byte* memory_ = nullptr;
  bool complete_ = false;
};

}  // namespace switchyard::emulated
