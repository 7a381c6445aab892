#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "parallel/checkpoint/checkpoint.h"

namespace switchyard {

// A saved step that is averaged.
struct AverageMember {
  std::string run;
  int64_t step = 0;
  std::string checkpoint{};  // its id; empty: not yet known

  std::string to_string() const;  // "RUN@STEP (checkpoint ID)", a line of an average's lineage
};

// "A:B:EVERY" as the steps A, A + EVERY, ... up to B, or single steps "100,250,400" that rise;
// throws Error unless B is met exactly.
std::vector<int64_t> parse_steps(const std::string& text);
std::vector<AverageMember> members_of(const std::string& run, const std::vector<int64_t>& steps);
// RUN with --steps, or two or more RUN@STEP without; those of one path rise. Throws Error.
std::vector<AverageMember> parse_members(const std::vector<std::string>& names,
                                         const std::string& steps);

std::vector<int64_t> steps_of(const std::vector<AverageMember>& members);
std::vector<std::string> runs_of(const std::vector<AverageMember>& members);  // each once
// Steps in a few words: "100, 200, ... 900, 950".
std::string show_steps(const std::vector<int64_t>& steps);
// "the steps 2, 4 of 'RUN'", or RUN@STEP each where there are several runs.
std::string describe(const std::vector<AverageMember>& members);

// What an average's checkpoint says of itself; none where it says nothing that makes sense.
std::vector<AverageMember> members_in(const CheckpointInfo& info);
std::string weights_of_in(const CheckpointInfo& info);  // --weights-of

}  // namespace switchyard
