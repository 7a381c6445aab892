#include "launch/engine/score.h"

#include <algorithm>

#include "parallel/comm/control_plane.h"

namespace switchyard {

namespace {

double read_loss_sum(ModelRunner& model) {
  double sum = 0;
  Stream& stream = model.context().stream;
  copy_bytes(&sum, model.stage().loss_sum().data, sizeof sum, stream);
  stream.synchronize();
  return sum;
}

Score sum_over_ranks(const ModelRunner& model, const Score& mine) {
  double sums[2] = {0, 0};
  if (model.counts()) {
    sums[0] = mine.loss_sum;
    sums[1] = static_cast<double>(mine.tokens);
  }
  Stream host;
  model.mesh()
      .world->all_reduce(std::span<double>(sums), ReduceOp::sum, host, {"sum of losses"})
      .wait(host);
  return {sums[0], static_cast<int64_t>(sums[1])};
}

}  // namespace

Score score(ModelRunner& model, int64_t samples, const ReadSample& read,
            const std::function<bool()>& asks_to_stop) {
  const Mesh& mesh = model.mesh();
  const int64_t micro_batch = model.options().micro_batch;
  const int64_t count = (samples + micro_batch - 1) / micro_batch;
  const Share share = share_of(count, mesh.layout.dp, mesh.place.dp);
  // As many rounds on every rank, though some have nothing left to do in the last: they agree.
  const Share largest = share_of(count, mesh.layout.dp, 0);
  Score mine;
  for (int64_t done = 0; done < largest.end; done += evaluation_run) {
    const int64_t begin = std::min(share.begin + done, share.end);
    const Share part{begin, std::min(begin + evaluation_run, share.end)};
    std::span<TokenBatch> batches;
    mine.broken_off = mesh.world->control().agree_and_ask(
        [&] { batches = model.read(part, samples, read); }, asks_to_stop);
    if (mine.broken_off) return mine;
    if (batches.empty()) continue;
    mine.tokens += scored_tokens(batches);
    model.forward(model.inputs().send(0, model.context().stream));
    mine.loss_sum += read_loss_sum(model);
  }
  return sum_over_ranks(model, mine);
}

}  // namespace switchyard
