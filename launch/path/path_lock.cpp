#include "launch/path/path_lock.h"

#include <utility>

#include "parallel/comm/rendezvous/job_identity.h"

namespace switchyard {

using std::chrono::milliseconds;

milliseconds lock_patience(const Settings& given) {
  const char* name = "lock-wait-minutes";
  constexpr double second = 1.0 / 60;  // for one that has just been killed
  const double otherwise = job_identity().restarts > 0 ? 5 : second;
  const double minutes = given.has(name) ? given.real(name) : otherwise;
  return std::chrono::duration_cast<milliseconds>(
      std::chrono::duration<double, std::ratio<60>>(minutes));
}

OptionSpec lock_wait_option() {
  return {
      .name = "lock-wait-minutes",
      .kind = OptionKind::real,
      .group = OptionGroup::run,
      .help = "wait so long for a process that works on RUN (a second; 5 in a Slurm job's restart)",
      .allowed = between(0, 60 * 24 * 365),
      .megatron = "-"};
}

LockPlace lock_place(const RunFolder& run) {
  return {.folder = run.folder(),
          .lock = run.folder() / "lock",
          .lease = run.folder() / "lease",
          .use = "being worked on",
          .advice = " (--lock-wait-minutes waits for it)"};
}

std::string holder_of(const RunFolder& run) { return holder_of(lock_place(run)); }

PathLock::PathLock(const RunFolder& run, milliseconds patience, const LockRules& rules)
    : PathLock(run, LockRequest(lock_place(run), patience, rules)) {}

PathLock::PathLock(const RunFolder& run, LockRequest request)
    : run_(run), lock_(std::move(request)) {
  run_.set_held([this] { lock_.check(); });
}

PathLock::~PathLock() { run_.set_held({}); }

}  // namespace switchyard
