#pragma once

#include "parallel/communicator.h"

namespace switchyard {

// Every operation on random sizes, for f32, bf16, f64 and i32, with inputs that all ranks can
// compute, against sums in plain loops; called by every rank of any kind of world. Sums must have
// the bits of rank 0 + rank 1 + ... (bf16: in f32, rounded once). Uses GoogleTest's EXPECT.
void check_collectives(Communicator& comm, uint64_t seed);
void check_messages(Communicator& comm, uint64_t seed);
// Splits in halves and in columns; several operations outstanding on both at once.
void check_groups(Communicator& comm, uint64_t seed);
void check_refusals(Communicator& comm);

}  // namespace switchyard
