#include "data/common_info.h"

#include <algorithm>

#include "core/error.h"

namespace switchyard {

namespace {

void check_alike(const TokenDataset& first, const TokenDataset& second) {
  const DatasetInfo& a = first.info();
  const DatasetInfo& b = second.info();
  check(a.tokenizer.empty() || b.tokenizer.empty() || a.tokenizer == b.tokenizer, "data",
        "{} was made with the tokenizer '{}' and {} with '{}'; sets read together need one "
        "tokenizer",
        first.prefix(), a.tokenizer, second.prefix(), b.tokenizer);
  check(a.end_of_document < 0 || b.end_of_document < 0 || a.end_of_document == b.end_of_document,
        "data", "{} ends documents with token {} and {} with {}; sets read together need one",
        first.prefix(), a.end_of_document, second.prefix(), b.end_of_document);
}

}  // namespace

DatasetInfo common_info(std::span<const TokenDataset* const> sets) {
  DatasetInfo common = sets.front()->info();
  bool bytes_known = true;
  bool largest_known = true;
  common.text_bytes = 0;
  for (const TokenDataset* set : sets) {
    for (const TokenDataset* other : sets) check_alike(*other, *set);
    const DatasetInfo& info = set->info();
    if (common.tokenizer.empty()) common.tokenizer = info.tokenizer;
    common.vocabulary = std::max(common.vocabulary, info.vocabulary);
    common.end_of_document = std::max(common.end_of_document, info.end_of_document);
    common.largest_token = std::max(common.largest_token, info.largest_token);
    common.text_bytes += info.text_bytes;
    bytes_known = bytes_known && info.text_bytes > 0;
    largest_known = largest_known && info.largest_token >= 0;
  }
  if (!bytes_known) common.text_bytes = 0;
  if (!largest_known) common.largest_token = -1;
  return common;
}

}  // namespace switchyard
