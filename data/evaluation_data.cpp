#include <algorithm>

#include "core/error.h"
#include "data/common_info.h"
#include "data/training_data.h"

namespace switchyard {

struct EvaluationData::State {
  std::vector<std::shared_ptr<const TokenDataset>> sets;
  std::vector<int64_t> first_window;  // of each set
  int64_t windows = 0;
  int64_t sequence_length = 0;
  DatasetInfo info;

  void add(const std::string& prefix, int64_t vocabulary, const std::string& identity);
};

// identity: empty where the set is to be checked here.
void EvaluationData::State::add(const std::string& prefix, int64_t vocabulary,
                                const std::string& identity) {
  sets.push_back(std::make_shared<const TokenDataset>(
      identity.empty() ? TokenDataset::open(prefix, vocabulary)
                       : TokenDataset::open_checked(prefix, identity, vocabulary)));
  const TokenDataset& set = *sets.back();
  check(set.tokens() >= 2, "data",
        "{} has {} tokens; a token is scored after at least one other, so 2 or more are needed",
        prefix, set.tokens());
  if (identity.empty())
    set.check_tokens();  // else a token beyond would be met windows or steps later
  first_window.push_back(windows);
  windows += (set.tokens() - 1 + sequence_length - 1) / sequence_length;
}

EvaluationData::EvaluationData(const std::vector<std::string>& prefixes, int64_t sequence_length,
                               int64_t vocabulary, const std::vector<std::string>& identities)
    : state_(std::make_shared<State>()) {
  check(!prefixes.empty(), "data", "no set to evaluate was given; one or more is needed");
  check(sequence_length >= 1, "data", "a sequence length of {} was given; 1 or more is allowed",
        sequence_length);
  check(identities.empty() || identities.size() == prefixes.size(), "data",
        "{} identities were given for {} sets; one for each is needed", identities.size(),
        prefixes.size());
  state_->sequence_length = sequence_length;
  for (size_t i = 0; i < prefixes.size(); ++i) {
    state_->add(prefixes[i], vocabulary, identities.empty() ? "" : identities[i]);
  }
  std::vector<const TokenDataset*> all;
  for (const auto& set : state_->sets) all.push_back(set.get());
  state_->info = common_info(all);
}

int64_t EvaluationData::windows() const { return state_->windows; }
int64_t EvaluationData::text_bytes() const { return state_->info.text_bytes; }
const DatasetInfo& EvaluationData::info() const { return state_->info; }

std::vector<std::string> EvaluationData::identities() const {
  std::vector<std::string> all;
  for (const auto& set : state_->sets) all.push_back(set->identity());
  return all;
}

void EvaluationData::read(int64_t window, std::span<int32_t> tokens,
                          std::span<int32_t> targets) const {
  check(window >= 0 && window < state_->windows, "data",
        "evaluation window {} was asked for; there are {}", window, state_->windows);
  const auto& firsts = state_->first_window;
  const auto set = static_cast<size_t>(std::upper_bound(firsts.begin(), firsts.end(), window) -
                                       firsts.begin() - 1);
  read_window(*state_->sets[set], window - firsts[set], state_->sequence_length, tokens, targets);
}

ValidationSource EvaluationData::source(size_t set, double weight) const {
  const auto& firsts = state_->first_window;
  const int64_t end = set + 1 < firsts.size() ? firsts[set + 1] : state_->windows;
  return {state_->sets[set], weight, 0, end - firsts[set]};
}

}  // namespace switchyard
