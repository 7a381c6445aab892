#pragma once

namespace switchyard {

// From here on this thread, and those that it begins, leave busy cores to others (10 nice levels
// below: some tenth of a core that is wanted all the time), and work as fast as before on idle
// ones. For threads that end: a plain user cannot take it back. A system that refuses changes
// nothing.
void give_way();

}  // namespace switchyard
