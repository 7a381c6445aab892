#pragma once

#include <cstdint>
#include <string>

#include "core/json.h"

namespace switchyard {

// A process, as others can tell who it is and whether it still is.
struct LeaseHolder {
  std::string host{};
  std::string boot{};       // of the host's kernel, random at each boot
  std::string pid_space{};  // in which process numbers mean the same
  int64_t process = 0;
  int64_t started = 0;                        // in ticks behind the boot: numbers are given again
  std::string scheduler{}, cluster{}, job{};  // job_identity.h; empty: started by hand
  int64_t restarts = 0;                       // of the job
  std::string launch{};                       // `launch --srun` that started it; empty: none did
  int64_t start = 0;                          // which of that launcher's
};
LeaseHolder this_process();

// From here on processes that this one starts are those of its start of that number.
void set_launched_start(int64_t start);

Json to_json(const LeaseHolder& holder);
LeaseHolder lease_holder_from(const Json& json);  // what is missing is empty
std::string describe(const LeaseHolder& holder);  // "process 123 on n2, Slurm job 45, restart 1"

// A process of this machine, in sight, that runs.
bool is_alive_here(const LeaseHolder& holder, const LeaseHolder& self);

// Whether the launcher of `self` has ended the start that the holder belongs to, as far as that
// start's nodes answer.
bool is_of_earlier_start(const LeaseHolder& holder, const LeaseHolder& self);

// Whether it still runs, as `self` can tell: of its own machine for certain. Of another one it is
// gone where its job is, or was started again, as `self` knows or Slurm says, which is asked a few
// seconds at most; else nothing is known.
enum class Life : uint8_t { gone, unknown, alive };
Life life_of(const LeaseHolder& holder, const LeaseHolder& self);

}  // namespace switchyard
