#include "launch/campaign/planned_schedule.h"

namespace switchyard {

Schedule planned_schedule(const Desired& desired, const DesiredPath& path) {
  const Settings& given = path.options;
  const auto real = [&](const char* name) { return given.has(name) ? given.real(name) : 0; };
  const auto count = [&](const char* name) { return given.has(name) ? given.integer(name) : 0; };
  const auto style = given.has("lr-decay-style") ? decay_style_named(given.text("lr-decay-style"))
                                                 : DecayStyle::constant;
  if (path.parent.empty())
    return schedule_from_scratch(given.real("lr"), real("min-lr"), count("lr-warmup-iters"), style,
                                 count("lr-decay-iters"));
  ScheduleChange change{
      .minimum = real("min-lr"), .style = style, .decay_iters = count("lr-decay-iters")};
  if (given.has("lr")) change.maximum = given.real("lr");
  if (given.has("lr-warmup-iters")) change.warmup = given.integer("lr-warmup-iters");
  const auto parent = planned_schedule(desired, desired.path(path.parent));
  return schedule_from_fork(parent, path.fork_step, change);
}

}  // namespace switchyard
