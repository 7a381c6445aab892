#pragma once

#include <chrono>
#include <map>
#include <optional>
#include <span>

#include "parallel/comm/inquiry_table.h"

namespace switchyard {

struct RoundAnswer {
  bool refused = false;  // by its machine: the process is not there
  std::optional<RankActivity> activity{};
};
// Asks all of these world ranks at once, and again as datagrams may be lost, until each has
// answered or the limit has passed. Takes a descriptor for each address of each.
std::map<int, RoundAnswer> ask_once(const InquiryTable& table, std::span<const int> ranks,
                                    std::chrono::milliseconds limit);

}  // namespace switchyard
