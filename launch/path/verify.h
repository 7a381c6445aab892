#pragma once

#include "parallel/checkpoint/checkpoint.h"

namespace switchyard {

// CheckpointReader::verify() of this rank's part of the shards; the first part shows how far it is.
void verify_with_progress(const CheckpointReader& reader, int part = 0, int parts = 1);

}  // namespace switchyard
