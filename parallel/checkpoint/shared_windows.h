#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>

#include "parallel/checkpoint/shared_pages.h"
#include "parallel/checkpoint/shared_plan.h"

namespace switchyard {

// Windows of files in memory that ranks share. Whoever comes to one first reads it, and the others
// find it. There is room for some at a time: one that all have had makes room for another. Whoever
// is ahead waits for those behind him, and all go in the same order; but no wait depends on anybody
// else: a rank that does not move for a while is not waited for. Any thread may call.
class SharedWindows {
 public:
  static int64_t bytes_for(size_t windows);
  // `windows` outlives it. `visits`: how often this rank comes to each of them.
  SharedWindows(SharedPages pages, std::span<const SharedWindow> windows, int rank,
                std::span<const int32_t> visits);
  ~SharedWindows();  // nobody waits for this rank any more
  SharedWindows(const SharedWindows&) = delete;
  SharedWindows& operator=(const SharedWindows&) = delete;

  // Reads a window's bytes to `out`, which lies as far behind a block's begin as in the file: this
  // one's, or a later one's.
  using Fill = std::function<void(size_t window, std::byte* out)>;
  // Lends the window's bytes to `use`. False: there is no room for them.
  using Use = std::function<void(const std::byte* bytes)>;
  bool visit(size_t window, const Fill& fill, const Use& use);

 private:
  struct Header;
  struct Window;
  struct Slot;
  class Pin;

  std::optional<size_t> find_or_read(size_t window, const Fill& fill);
  bool pin(size_t slot, size_t window);
  void leave(size_t slot, size_t window);
  bool read_ahead(size_t window, const Fill& fill);
  bool await(size_t window, uint32_t reading);
  std::optional<size_t> read(size_t window, const Fill& fill);
  void fill_slot(size_t window, size_t slot, const Fill& fill);
  void publish(size_t window, size_t slot);
  void give_up(size_t window);
  std::optional<size_t> take_slot(size_t window);
  enum class Take : uint8_t { had_by_all, later_ones, any };
  std::optional<size_t> try_slot(size_t window, Take take);
  uint64_t missing(size_t window) const;  // ranks that have not had it, bit by bit
  void moved();
  void note_visit(size_t window);
  std::byte* bytes_of(size_t slot) const;

  SharedPages pages_;
  std::span<const SharedWindow> windows_;
  int rank_ = 0;
  size_t slots_ = 0;
  Header* header_ = nullptr;
  Window* states_ = nullptr;
  Slot* slot_states_ = nullptr;
  std::byte* data_ = nullptr;
  std::unique_ptr<std::atomic<int32_t>[]> visits_;  // that this rank will still make
  // By rank: its moves + 1 when a read of its was waited for in vain. It is not until it moves.
  std::array<std::atomic<uint64_t>, most_sharing> doubted_{};
};

}  // namespace switchyard
