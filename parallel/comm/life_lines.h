#pragma once

#include <functional>
#include <memory>

#include "core/files.h"
#include "parallel/comm/inquiry_table.h"

// A connection from each rank to the next one, over which nothing is said but a good-bye: where a
// process ends without one, its machine tells its two neighbours at once, also on transports that
// keep it to themselves (Open MPI). A machine that ends with it tells nobody.
namespace switchyard {

class LifeLines {
 public:
  // Listens at this port of all interfaces; none where that cannot be.
  static Descriptor listen_at(int port);

  // `lost` hears, in a thread of this object, which world rank has ended so. What does not connect,
  // as behind a firewall, is left alone.
  LifeLines(std::shared_ptr<const InquiryTable> of, Descriptor listening,
            std::function<void(int rank)> lost);
  ~LifeLines();  // says good-bye
  LifeLines(const LifeLines&) = delete;
  LifeLines& operator=(const LifeLines&) = delete;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace switchyard
