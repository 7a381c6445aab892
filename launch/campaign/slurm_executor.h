#pragma once

#include <memory>

#include "launch/campaign/campaign.h"
#include "launch/campaign/executor.h"

namespace switchyard {

// Jobs as Slurm's: each a script under FOLDER/slurm, its log FOLDER/logs/NAME.log. A job that Slurm
// or its script puts back into the queue still runs. Jobs that are in the queue when it is made, of
// an earlier `run` or a `submit`, are among those that run, and outlive it: only stop() and kill()
// end them. A queue that does not answer changes nothing.
std::unique_ptr<Executor> make_slurm_executor(const Campaign& campaign);

}  // namespace switchyard
