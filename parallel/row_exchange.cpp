#include "parallel/row_exchange.h"

namespace switchyard {

const Tensor& RowExchange::Gathering::rows() {
  for (Part& part : parts_) part.handle.wait(stream_);
  return all_;
}

void RowExchange::Gathering::for_each_part(
    const std::function<void(const Tensor& part, RowRange where)>& product) {
  for (Part& part : parts_) {
    part.handle.wait(stream_);
    product(part.rows.of(all_), part.rows);
  }
}

RowExchange::Gathering RowExchange::gather(const Tensor& own, const Tensor& all, Label label) {
  Gathering gathering(group_.size() == 1 ? own : all, stream_);
  Handle handle;
  if (group_.size() > 1) handle = group_.all_gather(own, all, stream_, label);
  gathering.parts_.push_back({{0, gathering.all_.shape[0]}, std::move(handle)});
  return gathering;
}

// A weight gradient reads the gathered rows as a whole, in the order of the tokens, so every row
// must arrive at its place: an all-gather of a chunk would write its rows next to each other. Each
// rank's part of a chunk is one broadcast therefore; those of a chunk start together. The own rows
// are copied once, as an all-gather would.
RowExchange::Gathering RowExchange::gather_for_product(const Tensor& own, const Tensor& all,
                                                       Label label) {
  const RowChunks chunks(own.shape[0], chunks_);
  if (group_.size() == 1 || chunks.count() == 1) return gather(own, all, label);
  Gathering gathering(all, stream_);
  const Buffer from = own;
  const Buffer to = all.slice(0, rank() * own.shape[0], (rank() + 1) * own.shape[0]);
  copy_bytes(to.data, from.data, from.bytes(), stream_);
  for (int64_t j = 0; j < chunks.count(); ++j) {
    group_.group_begin();
    for (int root = 0; root < group_.size(); ++root) {
      const RowRange rows = chunks.of_rank(root, j);
      gathering.parts_.push_back({rows, group_.broadcast(rows.of(all), root, stream_, label)});
    }
    group_.group_end();
  }
  return gathering;
}

void RowExchange::reduce_scatter(const Tensor& partial_sums, const Tensor& own, Label label) {
  if (group_.size() == 1) return;
  group_.reduce_scatter(partial_sums, own, ReduceOp::sum, stream_, label).wait(stream_);
}

// Nobody else reads the partial sums, so a chunk's rows are written next to each other, in order of
// the ranks: one reduce-scatter takes them as they are, and nothing is copied.
void RowExchange::reduce_scatter_product(
    const Tensor& own, const Tensor& all, Label label,
    const std::function<void(RowRange, const Tensor& to)>& product) {
  const RowChunks chunks(own.shape[0], chunks_);
  if (group_.size() == 1 || chunks.count() == 1) {
    const Tensor& sums = partial(own, all);
    product({0, sums.shape[0]}, sums);
    return reduce_scatter(sums, own, label);
  }
  std::vector<Handle> handles;
  for (int64_t j = 0; j < chunks.count(); ++j) {
    const RowRange mine = chunks.own(j);
    const Tensor sums = all.slice(0, group_.size() * mine.begin, group_.size() * mine.end);
    for (int to = 0; to < group_.size(); ++to) {
      product(chunks.of_rank(to, j), sums.slice(0, to * mine.count(), (to + 1) * mine.count()));
    }
    handles.push_back(group_.reduce_scatter(sums, mine.of(own), ReduceOp::sum, stream_, label));
  }
  for (Handle& handle : handles) handle.wait(stream_);
}

std::vector<RowExchange::Parts> RowExchange::parts_of_product(int64_t own_rows, int64_t ranks,
                                                              int64_t chunks) {
  const RowChunks own(own_rows, chunks);
  if (ranks == 1 || own.count() == 1) return {{ranks * own_rows, 1}};
  std::vector<Parts> parts{{own.length(), ranks * (own_rows / own.length())}};
  if (own_rows % own.length() > 0) parts.push_back({own_rows % own.length(), ranks});
  return parts;
}

}  // namespace switchyard
