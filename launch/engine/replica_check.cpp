#include "launch/engine/replica_check.h"

#include <algorithm>

#include "core/error.h"
#include "parallel/bits_hash.h"
#include "parallel/comm/rank_places.h"
#include "parallel/odd_ones.h"

namespace switchyard {

namespace {

using Hashes = std::vector<int64_t>;  // of each parameter, in order

// Ranks of one group that hold something alike: their places in it.
struct Holders {
  int begin = 0;
  int end = 0;
};

class ReplicaCheck {
 public:
  ReplicaCheck(ModelRunner& model, int64_t step) : model_(model), step_(step) {
    for (const Parameter& p : model.buffers().parameters()) {
      mine_.push_back(static_cast<int64_t>(
          hash_of_bits(p.weight.data, p.weight.bytes(), p.weight.device, model.context().stream)));
    }
  }

  // What differs within a group of ranks along an axis, as a text; nothing where all agrees. The
  // group's ranks call it with the same parameters and holders of each.
  template <class IsHeld, class HoldersOf>
  std::string compare(Communicator& group, int Coordinates::*axis, const IsHeld& is_held,
                      const HoldersOf& holders_of) {
    const auto parameters = model_.buffers().parameters();
    Hashes sent;
    std::vector<size_t> numbers;
    for (size_t i = 0; i < mine_.size(); ++i) {
      if (!is_held(parameters[i])) continue;
      sent.push_back(mine_[i]);
      numbers.push_back(i);
    }
    if (sent.empty() || group.size() == 1) return "";
    const Hashes all = gather(group, sent);
    std::string first;
    std::vector<int> ranks;
    Holders held;
    int64_t differing = 0;
    for (size_t i = 0; i < numbers.size(); ++i) {
      const Parameter& parameter = parameters[numbers[i]];
      const Holders holders = holders_of(parameter);
      Hashes values;
      for (int rank = holders.begin; rank < holders.end; ++rank)
        values.push_back(all[static_cast<size_t>(rank) * sent.size() + i]);
      const auto odd = odd_ones(values);
      if (odd.empty() || ++differing > 1) continue;
      first = parameter.name;
      held = holders;
      for (const size_t place : odd) ranks.push_back(holders.begin + static_cast<int>(place));
    }
    return differing == 0 ? "" : describe(axis, held, ranks, first, differing, sent.size());
  }

 private:
  static Hashes gather(Communicator& group, Hashes& sent) {
    Hashes all(sent.size() * static_cast<size_t>(group.size()));
    Stream host;
    group.all_gather(std::span(sent), std::span(all), host, {"all-gather of weights' hashes"})
        .wait(host);
    return all;
  }

  int world_rank(int Coordinates::*axis, int place) const {
    const Mesh& mesh = model_.mesh();
    Coordinates at = mesh.place;
    at.*axis = axis == &Coordinates::pp && place > 0 ? mesh.layout.pp - 1 : place;
    return rank_of(mesh.layout, at);
  }

  std::string describe(int Coordinates::*axis, Holders held, const std::vector<int>& odd,
                       const std::string& first, int64_t differing, size_t of) const {
    std::vector<int> odd_ranks, others;
    for (int place = held.begin; place < held.end; ++place) {
      const bool is_odd = std::ranges::count(odd, place) > 0;
      (is_odd ? odd_ranks : others).push_back(world_rank(axis, place));
    }
    const std::string what =
        others.empty()
            ? fmt::format(
                  "weights of {} differ from each other, and no majority says which are right",
                  describe_ranks(odd_ranks))
            : fmt::format("weights of {} differ from those of {}", describe_ranks(odd_ranks),
                          describe_ranks(others));
    return fmt::format(
        "step {}: {}; these ranks have to have the same bits, and {} of {} tensors differ, first "
        "'{}'",
        step_, what, differing, of, first);
  }

  ModelRunner& model_;
  int64_t step_;
  Hashes mine_;
};

}  // namespace

void check_replicas(Engine& engine, int64_t step, const std::string& advice) {
  ModelRunner& model = engine.model();
  const Mesh& mesh = model.mesh();
  ReplicaCheck check_of(model, step);
  const auto whole = [](int size) { return [size](const Parameter&) { return Holders{0, size}; }; };
  const auto sharers = [&](const Parameter& p) {
    const int begin = mesh.place.tp / p.replicas * p.replicas;
    return Holders{begin, begin + p.replicas};
  };
  std::string found = check_of.compare(
      *mesh.dp, &Coordinates::dp, [](const Parameter&) { return true; }, whole(mesh.layout.dp));
  const auto over_tp = check_of.compare(
      *mesh.tp, &Coordinates::tp, [](const Parameter& p) { return p.replicas > 1; }, sharers);
  if (found.empty()) found = over_tp;
  if (mesh.embedding && mesh.embedding->size() > 1) {
    const auto tied = check_of.compare(
        *mesh.embedding, &Coordinates::pp, [](const Parameter& p) { return p.tied; }, whole(2));
    if (found.empty()) found = tied;
  }
  mesh.world->control().agree([&] {
    if (!found.empty()) throw Error("[replicas] " + found + "; " + advice, ExitCode::differs);
  });
}

}  // namespace switchyard
