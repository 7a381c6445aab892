#pragma once

#include <gtest/gtest.h>

#include <string>
#include <utility>
#include <vector>

#include "core/error.h"
#include "launch/campaign/campaign.h"

namespace switchyard::test {

// A campaign of two versions, in the folder /c: each line has a number of its own.
inline const std::string small_campaign = R"(folder = "runs"
arms = ["path-switching"]
[train]
preset = "gpt2-tiny"
global-batch-size = 4
lr = 1e-3
lr-warmup-iters = 3
[branch]
share = 0.6
[held-out]
web = "web"
[[version]]
name = "v1"
steps = 10
data-path = "d1"
[[version]]
name = "v2"
steps = 20
data-path = [0.8, "d2", 0.2, "../code"]
held-out.feb = ["f", "g"]
)";

// A text and what stands in its place, once.
using Change = std::pair<std::string, std::string>;

inline std::string changed(std::string text, const std::vector<Change>& changes) {
  for (const auto& [from, to] : changes) {
    const size_t at = text.find(from);
    EXPECT_NE(at, std::string::npos) << from;
    if (at != std::string::npos) text.replace(at, from.size(), to);
  }
  return text;
}

inline Campaign campaign_with(const std::vector<Change>& changes) {
  return parse_campaign(changed(small_campaign, changes), "/c/four.toml");
}

// The error of a text, without what is in front of the line's number.
inline std::string error_of(const std::string& text) {
  try {
    parse_campaign(text, "four.toml");
  } catch (const Error& error) {
    const std::string what = error.what(), front = "[campaign] four.toml:";
    EXPECT_EQ(code_of(error), ExitCode::usage) << what;
    return what.starts_with(front) ? what.substr(front.size()) : what;
  } catch (const std::exception& other) {
    return std::string("no Error: ") + other.what();
  }
  return "no error";
}

inline std::string error_with(const std::vector<Change>& changes) {
  return error_of(changed(small_campaign, changes));
}

}  // namespace switchyard::test
