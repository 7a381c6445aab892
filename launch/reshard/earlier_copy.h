#pragma once

#include <filesystem>
#include <string>

#include "launch/reshard/step_source.h"

namespace switchyard {

// What a copy says of itself in its checkpoint, so that the same command finds it as it would make
// it.

inline constexpr const char* resharded_document = "resharded";

// `options` are all that decide its files, in one order.
std::string resharded_text(const StepSource& source, const std::filesystem::path& to,
                           const std::string& options);

// Throws Error naming the difference where the folder, which is taken, is not what was asked for. A
// step that is not saved any more is told by its path.
void check_same_copy(const RunReference& from, const std::filesystem::path& to,
                     const std::string& options);

}  // namespace switchyard
