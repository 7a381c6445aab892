#pragma once

#include <memory>
#include <string>

#include "parallel/comm/rendezvous/start_places.h"

namespace switchyard {

// While ranks start that cannot talk yet (MPI_Init): each answers by datagrams, at a port that
// follows from the start's name and its rank, so that one that waits in vain can tell which ranks
// are not there. Nothing is done where no place is known.
class StartInquiry {
 public:
  explicit StartInquiry(StartPlaces places);
  ~StartInquiry();
  StartInquiry(const StartInquiry&) = delete;
  StartInquiry& operator=(const StartInquiry&) = delete;

  // "nothing from world ranks 0 1 on n1, which do not answer ...", "all other ranks answer", or
  // empty where nobody can be asked. Of the next 1,024 ranks at most. Takes some seconds at most.
  // Throws where the system gives no threads or memory.
  std::string absent_ranks() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace switchyard
