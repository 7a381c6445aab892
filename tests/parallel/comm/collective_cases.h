#pragma once

#include "parallel/comm/communicator.h"

namespace switchyard {

// Where the buffers of the cases lie and what they hold.
struct CollectiveCases {
  Device device = Device::cpu;
  // Sums of rank 0 + rank 1 + ... (16-bit types: in f32, rounded once) must come out bit for bit.
  // Else, for backends with an order of their own, inputs are small integers, exact in any order.
  bool in_order_of_ranks = true;
};

// Every operation on random sizes, for all floating dtypes, i32 and i64, with inputs that all ranks
// can compute, against sums in plain loops; called by every rank of any kind of world. Uses
// GoogleTest's EXPECT.
void check_collectives(Communicator& comm, uint64_t seed, const CollectiveCases& cases = {});
void check_messages(Communicator& comm, uint64_t seed, const CollectiveCases& cases = {});
// Splits in halves and in columns; several operations outstanding on both at once.
void check_groups(Communicator& comm, uint64_t seed, const CollectiveCases& cases = {});
void check_refusals(Communicator& comm);

}  // namespace switchyard
