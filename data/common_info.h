#pragma once

#include <span>

#include "data/dataset.h"

namespace switchyard {

// What holds for all of several sets: one tokenizer (a set that names none is taken at its word),
// the largest vocabulary, the sum of the bytes (0 when one does not say). Throws Error naming two
// sets whose tokenizers or ends of document differ.
DatasetInfo common_info(std::span<const TokenDataset* const> sets);

}  // namespace switchyard
