#pragma once

#include <memory>
#include <string>

#include "parallel/comm/communicator.h"
#include "parallel/comm/control_plane.h"

namespace switchyard {

// How ranks are laid out on the axes, leftmost closest together (Megatron's order tp-cp-dp-pp):
// rank = tp + TP * (cp + CP * (dp + DP * pp)).
struct Layout {
  int tp = 1;
  int cp = 1;  // room for context parallelism; only 1 is allowed so far
  int dp = 1;
  int pp = 1;
  int ranks() const { return tp * cp * dp * pp; }
  std::string to_string() const;  // "tp 2 x pp 1 x dp 2"
};

// Place of one rank on the mesh.
struct Coordinates {
  int tp = 0, cp = 0, dp = 0, pp = 0;
  friend bool operator==(const Coordinates&, const Coordinates&) = default;
};
Coordinates coordinates_of(const Layout& layout, int rank);
int rank_of(const Layout& layout, const Coordinates& place);

// A rank's layout, place and groups. `embedding` joins the first and last stage (the rank itself
// alone where pp is 1); it is null on stages between. `checkpoint` is a second control plane,
// for saving; `file_sharing` joins ranks of a node that save into the files of the first of them,
// and is null where each has files of its own (--save-writers-per-node). `node` joins the ranks of
// this one's machine, and is null where it is known of none that there are others.
struct Mesh {
  Layout layout;
  Coordinates place;
  Communicator* world = nullptr;
  std::unique_ptr<Communicator> tp, dp, pp, embedding;
  std::unique_ptr<ControlPlane> checkpoint, file_sharing, node;

  bool first_stage() const { return place.pp == 0; }
  bool last_stage() const { return place.pp == layout.pp - 1; }
};

// Collective over world. Throws Error when the world's size is not the layout's.
Mesh make_mesh(const Layout& layout, Communicator& world);

}  // namespace switchyard
