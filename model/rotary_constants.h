#pragma once

#include "model/block_stash.h"
#include "model/stage_context.h"

namespace switchyard {

// The line of the context's rotary table for positions [0, length).
BufferLine rotary_line(StageContext& context, int64_t length);
// Fills it with the host's numbers, whatever its device.
void write_rotary_table(const StageContext& context);

}  // namespace switchyard
