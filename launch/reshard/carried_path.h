#pragma once

#include <filesystem>

#include "launch/path/run_folder.h"

namespace switchyard {

// path.json and other files of a run beside its checkpoints, for a folder of its own. A name of a
// folder in it is one that is seen from there: what it names need not be there.

// Of the run, to be written to the folder `to`: its lineage is named from there.
PathSpecification carried_path(const RunFolder& run, PathSpecification path,
                               const std::filesystem::path& to);
// The name of a folder within a document, {"path": ..., "path_as_given": ...}, likewise.
void carry_name(std::string& path, std::string& path_as_given, const RunFolder& run,
                const std::filesystem::path& to);

// The lines of the steps up to this one, and of the starts that began before it.
void carry_logs(const RunFolder& run, int64_t step, const std::filesystem::path& to);
// The files of a published model's tokenizer, of the run or its nearest ancestor that has them.
void carry_companions(const RunFolder& run, const std::filesystem::path& to);

}  // namespace switchyard
