#include "parallel/checkpoint/checked_reads.h"

#include <set>

#include "parallel/checkpoint/read_checks.h"

namespace switchyard {

struct CheckedReads::State {
  const CheckpointReader& reader;
  ReadChecks checks{ReadChecks::Readers::own_parts};
  std::set<std::string> read = {};
};

CheckedReads::CheckedReads(const CheckpointReader& reader) : state_(new State{reader}) {}
CheckedReads::~CheckedReads() = default;

void CheckedReads::read(const std::string& name, const Box& box, void* out) {
  state_->reader.read(name, box, out, &state_->checks);
  state_->read.insert(name);
}

std::vector<int32_t> CheckedReads::checked_or_unread() const {
  std::vector<int32_t> flags;
  for (const IndexedTensor& entry : state_->reader.index().tensors) {
    bool read = state_->read.contains(entry.tensor.name);
    for (const auto& alias : entry.aliases) read = read || state_->read.contains(alias);
    for (const StoredPiece& piece : entry.pieces) {
      flags.push_back(!read || state_->checks.is_checked(piece) ? 1 : 0);
    }
  }
  return flags;
}

}  // namespace switchyard
