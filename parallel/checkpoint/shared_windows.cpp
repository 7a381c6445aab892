#include "parallel/checkpoint/shared_windows.h"

#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <ctime>
#include <limits>
#include <new>

namespace switchyard {

namespace {

using namespace std::chrono_literals;
using Clock = std::chrono::steady_clock;
using Word = std::atomic<uint32_t>;
static_assert(Word::is_always_lock_free && std::atomic<uint64_t>::is_always_lock_free);

constexpr size_t most_slots = 64;
constexpr size_t most_ahead = 4;  // windows behind one that somebody reads

constexpr auto patience = 2s;          // with one who reads
constexpr auto patience_ahead = 20ms;  // before what others come to later makes room
constexpr auto stillness = 500ms;      // of all, while room is waited for

// A window's word: nobody has it; rank r reads it (1 + r); it lies in slot s (in_slot + s).
constexpr uint32_t nobody = 0;
constexpr uint32_t in_slot = 1 + most_sharing;
constexpr uint32_t read_by(int rank) { return 1 + static_cast<uint32_t>(rank); }

// A slot's word: the window that lies in it + 1, and below how many threads use it now.
constexpr uint64_t empty = 0;
constexpr uint64_t taken = uint64_t{0xffffffff} << 32;  // by whoever reads into it
constexpr uint64_t slot_with(size_t window) { return (uint64_t{window} + 1) << 32; }
constexpr bool is_used(uint64_t slot) { return (slot & 0xffffffff) != 0; }

// Of several processes. Returns when the word is changed and wake() called, or earlier.
void wait(const Word& word, uint32_t value, Clock::duration most) {
  const auto nanoseconds = std::chrono::duration_cast<std::chrono::nanoseconds>(most).count();
  const timespec time{nanoseconds / 1'000'000'000, nanoseconds % 1'000'000'000};
  syscall(SYS_futex, &word, FUTEX_WAIT, value, &time, nullptr, 0);
}

void wake(const Word& word) {
  syscall(SYS_futex, &word, FUTEX_WAKE, std::numeric_limits<int>::max(), nullptr, nullptr, 0);
}

int64_t rounded(int64_t bytes) { return (bytes + window_bytes - 1) / window_bytes * window_bytes; }

}  // namespace

struct SharedWindows::Header {
  std::atomic<uint64_t> absent;          // ranks that nobody waits for, until they move
  std::array<Word, most_sharing> moves;  // of each rank, on and on
  Word all_moves;
  Word freed;    // changes when a slot may have become free
  Word waiting;  // for that
  Word clock;
};

struct SharedWindows::Window {
  std::atomic<uint64_t> had;  // by ranks
  Word word;
};

struct SharedWindows::Slot {
  std::atomic<uint64_t> word;
  Word used;  // by the header's clock
};

int64_t SharedWindows::bytes_for(size_t windows) {
  const auto states =
      static_cast<int64_t>(sizeof(Header) + windows * sizeof(Window) + most_slots * sizeof(Slot));
  return rounded(states) + static_cast<int64_t>(std::min(windows, most_slots)) * window_bytes;
}

// The pages are zeros, as all of their words begin.
SharedWindows::SharedWindows(SharedPages pages, std::span<const SharedWindow> windows, int rank,
                             std::span<const int32_t> visits)
    : pages_(std::move(pages)),
      windows_(windows),
      rank_(rank),
      slots_(std::min(windows.size(), most_slots)),
      visits_(std::make_unique<std::atomic<int32_t>[]>(windows.size())) {
  std::byte* at = pages_.data();
  header_ = std::launder(reinterpret_cast<Header*>(at));
  slot_states_ = std::launder(reinterpret_cast<Slot*>(at += sizeof(Header)));
  states_ = std::launder(reinterpret_cast<Window*>(at += most_slots * sizeof(Slot)));
  data_ = pages_.data() + (pages_.bytes() - static_cast<int64_t>(slots_) * window_bytes);
  for (size_t i = 0; i < visits.size(); ++i) visits_[i] = visits[i];
}

SharedWindows::~SharedWindows() {
  header_->absent |= uint64_t{1} << rank_;
  ++header_->freed;
  wake(header_->freed);
}

std::byte* SharedWindows::bytes_of(size_t slot) const {
  return data_ + static_cast<int64_t>(slot) * window_bytes;
}

uint64_t SharedWindows::missing(size_t window) const {
  return windows_[window].wanted & ~states_[window].had & ~header_->absent;
}

bool SharedWindows::pin(size_t slot, size_t window) {
  std::atomic<uint64_t>& word = slot_states_[slot].word;
  uint64_t now = word;
  while (now >> 32 == slot_with(window) >> 32) {
    if (word.compare_exchange_weak(now, now + 1)) return true;
  }
  return false;
}

void SharedWindows::moved() {
  ++header_->moves[static_cast<size_t>(rank_)];
  ++header_->all_moves;
}

void SharedWindows::note_visit(size_t window) {
  if (--visits_[window] <= 0) states_[window].had |= uint64_t{1} << rank_;
  moved();
  const uint64_t own = uint64_t{1} << rank_;
  if ((header_->absent & own) != 0) header_->absent &= ~own;
}

void SharedWindows::leave(size_t slot, size_t window) {
  note_visit(window);
  --slot_states_[slot].word;
  if (header_->waiting == 0 || missing(window) != 0) return;
  ++header_->freed;
  wake(header_->freed);
}

class SharedWindows::Pin {
 public:
  Pin(SharedWindows& all, size_t slot, size_t window) : all_(all), slot_(slot), window_(window) {}
  ~Pin() { all_.leave(slot_, window_); }
  Pin(const Pin&) = delete;
  Pin& operator=(const Pin&) = delete;

 private:
  SharedWindows& all_;
  size_t slot_, window_;
};

bool SharedWindows::visit(size_t window, const Fill& fill, const Use& use) {
  const auto slot = find_or_read(window, fill);
  if (!slot) {
    note_visit(window);
    return false;
  }
  const Pin pin(*this, *slot, window);
  use(bytes_of(*slot) + windows_[window].begin % window_bytes);
  return true;
}

// The slot is pinned.
std::optional<size_t> SharedWindows::find_or_read(size_t window, const Fill& fill) {
  Word& word = states_[window].word;
  while (true) {
    uint32_t now = word;
    if (now >= in_slot) {
      if (pin(now - in_slot, window)) return now - in_slot;
    } else if (now != nobody && (read_ahead(window, fill) || await(window, now))) {
      continue;
    }
    if (word.compare_exchange_strong(now, read_by(rank_))) return read(window, fill);
  }
}

// Reads one of the next, so that the disk has several to do. False: there is none to be read.
bool SharedWindows::read_ahead(size_t window, const Fill& fill) {
  const size_t end = std::min(window + 1 + most_ahead, windows_.size());
  for (size_t next = window + 1; next < end; ++next) {
    if (states_[next].word != nobody || (missing(next) >> rank_ & 1) == 0) continue;
    const auto slot = try_slot(next, Take::had_by_all);
    if (!slot) return false;
    uint32_t now = nobody;
    if (!states_[next].word.compare_exchange_strong(now, read_by(rank_))) {
      slot_states_[*slot].word = empty;
      continue;
    }
    fill_slot(next, *slot, fill);
    --slot_states_[*slot].word;
    return true;
  }
  return false;
}

// While somebody reads it. False: it takes too long, as it did when that rank moved last.
bool SharedWindows::await(size_t window, uint32_t reading) {
  const auto reader = static_cast<size_t>(reading - read_by(0));
  const Word& word = states_[window].word;
  const Word& moves = header_->moves[reader];
  uint64_t seen = moves;
  auto end = Clock::now() + patience;
  while (word == reading && doubted_[reader] != seen + 1) {
    const auto now = Clock::now();
    if (moves != seen) end = now + patience;
    seen = moves;
    if (now >= end)
      doubted_[reader] = seen + 1;
    else
      wait(word, reading, end - now);
  }
  return word != reading;
}

std::optional<size_t> SharedWindows::read(size_t window, const Fill& fill) {
  const auto slot = take_slot(window);
  slot ? fill_slot(window, *slot, fill) : give_up(window);
  return slot;
}

void SharedWindows::fill_slot(size_t window, size_t slot, const Fill& fill) {
  try {
    fill(window, bytes_of(slot) + windows_[window].begin % window_bytes);
  } catch (...) {
    slot_states_[slot].word = empty;
    give_up(window);
    throw;
  }
  publish(window, slot);
}

// Somebody who did not want to wait may have read it, too.
void SharedWindows::publish(size_t window, size_t slot) {
  moved();
  slot_states_[slot].used = ++header_->clock;
  slot_states_[slot].word = slot_with(window) + 1;
  uint32_t mine = read_by(rank_);
  Word& word = states_[window].word;
  word.compare_exchange_strong(mine, in_slot + static_cast<uint32_t>(slot));
  wake(word);
}

void SharedWindows::give_up(size_t window) {
  uint32_t mine = read_by(rank_);
  states_[window].word.compare_exchange_strong(mine, nobody);
  wake(states_[window].word);
}

std::optional<size_t> SharedWindows::try_slot(size_t window, Take take) {
  std::optional<size_t> best;
  uint64_t best_word = 0, best_rank = 0;
  for (size_t i = 0; i < slots_; ++i) {
    const uint64_t now = slot_states_[i].word;
    if (is_used(now) || now == taken) continue;
    const size_t other = now == empty ? 0 : (now >> 32) - 1;
    const bool is_free = now == empty || missing(other) == 0;
    if (!is_free && (take == Take::had_by_all || (take == Take::later_ones && other < window)))
      continue;
    // The least: one that is free, the oldest of those; else the last in the files.
    const uint64_t rank =
        is_free ? (now == empty ? 0 : slot_states_[i].used + uint64_t{1}) : ~uint64_t{other};
    if (best && rank >= best_rank) continue;
    best = i;
    best_word = now;
    best_rank = rank;
  }
  if (!best || !slot_states_[*best].word.compare_exchange_strong(best_word, taken))
    return std::nullopt;
  if (best_word == empty) return best;
  const size_t other = (best_word >> 32) - 1;
  if (take == Take::any) header_->absent |= missing(other);
  uint32_t there = in_slot + static_cast<uint32_t>(*best);
  states_[other].word.compare_exchange_strong(there, nobody);
  return best;
}

std::optional<size_t> SharedWindows::take_slot(size_t window) {
  if (const auto slot = try_slot(window, Take::had_by_all)) return slot;
  const auto begin = Clock::now();
  auto last_move = begin;
  uint32_t moves = header_->all_moves;
  ++header_->waiting;
  std::optional<size_t> slot;
  while (!slot) {
    const uint32_t freed = header_->freed;
    const auto now = Clock::now();
    if (header_->all_moves != moves) last_move = now;
    moves = header_->all_moves;
    slot = try_slot(window, now - last_move >= stillness    ? Take::any
                            : now - begin >= patience_ahead ? Take::later_ones
                                                            : Take::had_by_all);
    if (slot || now - begin >= patience) break;
    wait(header_->freed, freed, patience_ahead);
  }
  --header_->waiting;
  return slot;
}

}  // namespace switchyard
