#pragma once

#include "core/json.h"
#include "launch/path/compare.h"

namespace switchyard {

// What was found, with the first difference and the largest; numbers read back to the same bits.
Json comparison_json(const RecordComparison& found);
Json comparison_json(const CheckpointComparison& found);

// The first difference and the largest, a line each; nothing where there is none.
void print_places(const RecordComparison& found);
void print_places(const CheckpointComparison& found);

}  // namespace switchyard
