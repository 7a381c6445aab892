#pragma once

#include <functional>

#include "launch/campaign/campaign.h"
#include "launch/campaign/file_node.h"

namespace switchyard {

// The options of `train` in a table of a campaign's file, by their names. Which of them are allowed
// is said by `specs`; other keys of the table are left out. Their places are noted as TABLE.NAME.
// Names of files count from the file's folder. Throws Error with file, line and key.
Settings options_in(const FileNode& table, const std::string& name,
                    const std::vector<OptionSpec>& specs, Campaign& campaign);

// What a table may hold: path options but for data, seed (but in [train]) and the decay; run
// options but for those that the campaign decides and the layout's.
std::vector<OptionSpec> campaign_path_options();
std::vector<OptionSpec> campaign_run_options();
std::vector<std::string> names_of(const std::vector<OptionSpec>& specs);

// [layout] and its [layout.main], [layout.branch], [layout.score].
void read_layouts(const FileNode& file, Campaign& campaign);
void read_executor(const FileNode& file, Campaign& campaign);

// A prefix or file as the file says it, seen from the file's folder.
std::string from_file(const FileNode& node, const Campaign& campaign);
// The same for the prefixes of a --data-path, not for its weights.
std::vector<std::string> data_from_file(const FileNode& node, const Campaign& campaign);

// An Error of the body with the place in the file instead of the part of the program that found it.
void with_place(const FileNode& node, const std::function<void()>& body);

}  // namespace switchyard
