#pragma once

#include <filesystem>

#include "launch/engine/engine_options.h"
#include "parallel/mesh.h"

namespace switchyard {

// On a GPU: the algorithms of a step's matrix products, the same on all ranks. They are read from
// `folder`/matmul.jsonl; what is not there is timed by the first rank. A table of another device or
// version is made anew; the log says that bits may differ, as it does when a run that `goes_on` has
// to time any. No folder: nothing is read. To be called before the model takes its memory, as
// operands need some. Collective.
void settle_matmul_choices(const std::filesystem::path& folder, const EngineOptions& options,
                           const Mesh& mesh, bool goes_on = false);
bool has_matmul_choices(const std::filesystem::path& folder);
// A branch computes with its parent's choices, and so its parent's bits. Throws Error.
void hand_on_matmul_choices(const std::filesystem::path& parent,
                            const std::filesystem::path& branch);
// Writes what was settled to `folder`/matmul.jsonl, so that a run that goes on never times again.
void keep_matmul_choices(const std::filesystem::path& folder);

}  // namespace switchyard
