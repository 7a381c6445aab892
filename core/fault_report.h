#pragma once

#include <filesystem>
#include <string>
#include <string_view>

namespace switchyard {

// What a rank leaves of a fault (a lost peer, a timeout, a fatal signal):
// RUN/faults/START-rank-N.txt, one file a rank, with what went wrong and the stacks of its threads.
//
// A launcher that has something to say of a rank puts it beside, as START-host-HOST.txt. It learns
// where by SWITCHYARD_FAULTS_NOTE=FILE in the environment of its ranks: each of them that knows
// writes FILE, at once and alike, with two lines, the folder (absolute) and START.
struct FaultPlace {
  std::filesystem::path run{};  // nothing is written as long as run/path.json is not there
  std::string start{};          // alike on all ranks, later ones behind earlier: 20261130T001820
  int rank = 0;
  std::string who{};  // "world rank 3 of 8, process 123 on n2; Slurm job 17"
};
void set_fault_place(const FaultPlace& place);

// Writes this process's report, at the first call alone: `what`, a line or more, and all stacks.
// Returns what an error's line ends with, "; stacks in RUN/faults", or nothing where none is there.
// Where RUN is on a disk that does not answer it says so within seconds: it waits no longer.
std::string write_fault_report(std::string_view what);

// From here on SIGSEGV, SIGBUS, SIGABRT, SIGFPE and SIGILL write a line to stderr and a report
// before they end the process as they would. `label` begins that line, such as "rank 3".
void report_fatal_signals(std::string_view label);

// Removes reports of older starts than the newest `starts`.
void keep_newest_faults(const std::filesystem::path& run, size_t starts = 20);

}  // namespace switchyard
