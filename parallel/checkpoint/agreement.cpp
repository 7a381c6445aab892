#include "parallel/checkpoint/agreement.h"

#include <algorithm>
#include <exception>

#include "core/error.h"

namespace switchyard {

namespace {

// The most failing ranks an error quotes; a full disk fails all of them alike.
constexpr int quoted_failures = 4;

std::string outcome_of(const std::function<void()>& body) try {
  body();
  return {};
} catch (const std::exception& error) {
  return error.what();
}

std::string summary(const std::vector<std::string>& failures) {
  std::string text;
  int failed = 0;
  for (size_t rank = 0; rank < failures.size(); ++rank) {
    if (failures[rank].empty() || ++failed > quoted_failures) continue;
    text += fmt::format("{}rank {}: {}", text.empty() ? "" : "; ", rank, failures[rank]);
  }
  if (failed > quoted_failures) {
    text += fmt::format("; and {} more ranks", failed - quoted_failures);
  }
  return text;
}

}  // namespace

void agree(Communicator& comm, const std::function<void()>& body) {
  const std::string failure = outcome_of(body);
  Stream stream;
  int32_t failed = failure.empty() ? 0 : 1;
  comm.all_reduce(std::span(&failed, 1), ReduceOp::max, stream, {"outcome of saving"}).wait(stream);
  if (failed == 0) return;
  fail("checkpoint", "saving failed: {}", summary(gather_texts(comm, failure)));
}

std::vector<std::string> gather_texts(Communicator& comm, const std::string& mine) {
  const auto ranks = static_cast<size_t>(comm.size());
  Stream stream;
  int64_t length = static_cast<int64_t>(mine.size());
  std::vector<int64_t> lengths(ranks);
  comm.all_gather(std::span(&length, 1), std::span(lengths), stream,
                  {"lengths of checkpoint descriptions"})
      .wait(stream);
  const auto longest = static_cast<size_t>(std::max<int64_t>(1, std::ranges::max(lengths)));
  std::vector<uint8_t> padded(longest), all(longest * ranks);
  std::ranges::copy(mine, padded.begin());
  comm.all_gather(std::span(padded), std::span(all), stream, {"checkpoint descriptions"})
      .wait(stream);
  std::vector<std::string> texts;
  for (size_t i = 0; i < ranks; ++i) {
    const auto begin = all.begin() + static_cast<int64_t>(i * longest);
    texts.emplace_back(begin, begin + lengths[i]);
  }
  return texts;
}

}  // namespace switchyard
