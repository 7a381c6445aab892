#include "launch/fault_place.h"

#include <fmt/core.h>
#include <unistd.h>

#include "core/fault_report.h"
#include "core/text.h"
#include "parallel/comm/communicator.h"
#include "parallel/comm/control_plane.h"
#include "parallel/comm/rendezvous/job_identity.h"

namespace switchyard {

void name_fault_place(const std::filesystem::path& run, Communicator& world) {
  const std::string start =
      world.control().broadcast(now_in_utc("%Y%m%dT%H%M%S"), "the start's name");
  const JobIdentity job = job_identity();
  set_fault_place({.run = run,
                   .start = start,
                   .rank = world.rank(),
                   .who = fmt::format("world rank {} of {}, process {} on {}; {}", world.rank(),
                                      world.size(), getpid(), job.host, describe(job))});
  report_fatal_signals(fmt::format("world rank {} on {}", world.rank(), job.host));
  if (world.rank() == 0) keep_newest_faults(run);
}

}  // namespace switchyard
