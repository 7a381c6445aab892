#pragma once

#include <functional>
#include <memory>

#include "core/error.h"
#include "launch/campaign/campaign.h"
#include "launch/campaign/executor.h"

namespace switchyard {

using ExecutorFactory = std::function<std::unique_ptr<Executor>(const Campaign&)>;

// Carries a campaign out: reads the file, looks at the disk, does what is next, until all is done
// or nothing more can be. The file is read again whenever it has changed, so that versions may be
// added meanwhile; one that cannot be read is told, and what runs goes on. A job that fails ends
// what depends on it; the rest goes on. A signal (core/stop_signal.h) lets all jobs save and end.
// Killed at any instant, the next call goes on. Returns `reached`, `stopped`, or the code of the
// first job that failed. Throws Error before anything runs for a campaign that cannot be.
ExitCode run_campaign(const std::filesystem::path& file, const ExecutorFactory& make_executor);

}  // namespace switchyard
