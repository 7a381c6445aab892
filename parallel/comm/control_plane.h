#pragma once

#include <exception>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/error.h"

namespace switchyard {

class Communicator;
class Store;

// An error that all ranks know of. The lowest rank that met it has printed it, and all end with its
// code.
class AgreedError : public Error {
 public:
  using Error::Error;
};

// Prints an error as the program's last line and returns its code.
ExitCode print_error(const std::exception& problem);

// What the hosts of a job's ranks have to say to each other beside the tensors, for as long as the
// job lives. All ranks call the same operations in the same order; each returns when it is done.
// `what` names the operation in the errors that a lost rank or the timeout end it with, those of
// the world. One thread at a time uses a control plane; another has a duplicate.
class ControlPlane {
 public:
  virtual ~ControlPlane() = default;
  virtual int rank() const = 0;
  virtual int size() const = 0;

  // Runs `body` on every rank and agrees on the outcome, so that an error that only some ranks meet
  // ends all of them at once: as an AgreedError with the text and code of the lowest rank that met
  // one. Where `doing` is given, it says on how many ranks that failed. An AgreedError of `body` is
  // one already, and passes.
  void agree(const std::function<void()>& body, std::string_view doing = {});
  // The same; returns whether any rank `asks`, where no body failed.
  bool agree_and_ask(const std::function<void()>& body, const std::function<bool()>& asks);
  std::string broadcast(const std::string& text, std::string_view what);  // rank 0's
  // Every rank's text, by rank; on the others than rank 0 nothing.
  std::vector<std::string> gather(const std::string& text, std::string_view what);
  void barrier(std::string_view what);

  // The same ranks, with an order of operations of its own. Collective, with a name that is used
  // once; ends before this one.
  virtual std::unique_ptr<ControlPlane> duplicate(const std::string& name) = 0;
  // The same for some of the ranks, this one among them, in the order given. Every rank calls it,
  // with the group that it is in; no rank is in two.
  virtual std::unique_ptr<ControlPlane> split(std::span<const int> ranks,
                                              const std::string& name) = 0;

 protected:
  using Combine = std::function<std::string(std::span<const std::string> texts)>;
  // Every rank gets what rank 0 makes of all texts; where all are empty, an empty one at once.
  virtual std::string exchange(const std::string& mine, const Combine& combine,
                               std::string_view what) = 0;

 private:
  bool agree_on(const std::function<void()>& body, const std::function<bool()>& asks,
                std::string_view doing);
};

// Over a group that moves host memory.
std::unique_ptr<ControlPlane> make_control_plane(std::unique_ptr<Communicator> group);
// Over the store by which the ranks have found each other. Returns when all ranks have come; from
// then on signals no longer end its waits.
std::unique_ptr<ControlPlane> make_control_plane(std::unique_ptr<Store> store);

}  // namespace switchyard
