#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>

#include "core/device.h"
#include "launch/path/options.h"
#include "parallel/mesh.h"

namespace switchyard {

// How a start of a path runs: a line of RUN/starts.jsonl.
struct StartRecord {
  int64_t number = 1;  // counts the path's starts that did a step
  int64_t step = 0;    // the one that it goes on from
  Layout layout;
  Device device = Device::cpu;
  Settings run;  // every run option that has a value
};

// Adds the line of a start, with the job that made it and its hosts, and with it what the next one
// remembers: called once its first step is done, so that a start that fails before leaves nothing.
// Replaces the file at once. Throws Error.
void append_start(const std::filesystem::path& run, const StartRecord& start);

// What of a start decides over the bits of its steps beside the path itself: layout, micro-batch,
// threads, instruction sets, device and libraries, as one text.
std::string conditions_of(const StartRecord& start);
// Those of RUN/starts.jsonl by the start's number. Throws Error where the file cannot be read.
std::map<int64_t, std::string> recorded_conditions(const std::filesystem::path& run);

// The last whole line of RUN/starts.jsonl; empty where there is none. Throws Error where the file
// cannot be read.
std::string last_start_line(const std::filesystem::path& run);

// The largest number of a start in RUN/starts.jsonl and RUN/metrics.jsonl, whose lines would have
// two meanings were it given again; 0: none. Throws Error likewise.
int64_t largest_start(const std::filesystem::path& run);

// What such a line says to the next start.
struct LastStart {
  int64_t number = 0;   // 0: there was none
  Settings remembered;  // when to save, log and validate, on what, and how much to keep
};
LastStart parse_start(const std::string& line);

// The options given and those remembered that were not. A start that validates nothing takes up no
// validation data. Without a word about --eval-interval it is 1000 where validation data are given,
// and at a path's first start where its split has a validation part.
Settings with_remembered(const Settings& given, const Settings& remembered,
                         bool has_validation_part = false);
// What it took up that is not the usual value, as on a command line; empty: nothing.
std::string show_remembered(const Settings& given, const Settings& remembered);

}  // namespace switchyard
