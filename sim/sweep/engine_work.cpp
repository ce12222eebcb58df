// Work is handed out in order, evaluated in parallel and committed in groups; only finished positions are recorded.
#include "sim/sweep/engine_work.hpp"

#include <algorithm>

namespace gambrel::sim {
namespace {

constexpr double batch_seconds = 0.02;       ///< long against a hand-over, short against an interruption
constexpr double largest_batch = 16384;
constexpr std::size_t rows_a_commit = 100;
constexpr auto commit_after = std::chrono::milliseconds(250);
constexpr std::size_t most_rows = 1 << 16;   ///< pending, before evaluation waits
constexpr std::size_t most_points = 1 << 25; ///< pending, as a byte each

}  // namespace

std::optional<FinishedRange> WorkSource::next() {
  const std::scoped_lock lock(mutex_);
  auto gap = taken_.next_missing(next_, last_);
  if (!gap) return std::nullopt;
  gap->last = std::min(gap->last, gap->first + static_cast<std::uint64_t>(points_per_batch_));
  next_ = gap->last;
  return gap;
}

void WorkSource::skip(const FinishedRanges& finished) {
  const std::scoped_lock lock(mutex_);
  taken_ = finished;
}

void WorkSource::took(std::uint64_t points, double seconds) {
  const std::scoped_lock lock(mutex_);
  const double wanted = static_cast<double>(points) * batch_seconds / std::max(seconds, 1e-9);
  points_per_batch_ = std::clamp(std::min(wanted, 4 * points_per_batch_), 1.0, largest_batch);
}

BatchEvaluator::BatchEvaluator(const DesignSpace& space, const Sequence* sequence, const Keep& keep, const std::atomic<bool>* stop)
    : space_(space), sequence_(sequence), stop_(stop), evaluator_(space.evaluator()), seen_(make_selection(keep, space.objectives())), coordinates_(space.coordinates_of(0)) {
  for (const SweepAxis& axis : space.axes()) sizes_.push_back(static_cast<std::uint32_t>(axis.size()));
}

void BatchEvaluator::go_to(std::uint64_t index) {
  if (index == at_ + 1) {  // to the neighbour: as an odometer turns
    for (std::size_t a = coordinates_.size(); a-- > 0;) {
      if (++coordinates_[a] < sizes_[a]) break;
      coordinates_[a] = 0;
    }
  } else if (index != at_) {
    std::uint64_t rest = index;
    for (std::size_t a = coordinates_.size(); a-- > 0; rest /= sizes_[a]) coordinates_[a] = static_cast<std::uint32_t>(rest % sizes_[a]);
  }
  at_ = index;
}

void BatchEvaluator::compute(std::uint64_t index) {
  go_to(index);
  PointResult& point = current_.point;
  point.reason = 0;
  evaluator_->evaluate(coordinates_, point);
  point.index = index;
}

const StoredPoint& BatchEvaluator::evaluate(std::uint64_t index) {
  compute(index);
  current_.key = point_key(space_.canonical(coordinates_));
  current_.message = current_.point.state == PointState::impossible ? space_.message(current_.point.reason) : "";
  return current_;
}

Batch BatchEvaluator::evaluate(const FinishedRange& work) {
  Batch batch{.first = work.first};
  batch.states.reserve(work.last - work.first);
  // Of a batch whose points beat each other only the last winners leave this thread.
  const std::unique_ptr<Selection> winners = seen_ ? seen_->fresh() : nullptr;
  for (std::uint64_t position = work.first; position < work.last && !(stop_ && stop_->load(std::memory_order_relaxed)); ++position) {
    const std::uint64_t index = sequence_->at(position);
    if (!seen_) batch.points.push_back(evaluate(index));
    else if (compute(index); seen_->add(current_.point)) winners->add(current_.point);
    batch.states.push_back(current_.point.state);
  }
  if (winners)
    for (PointResult& point : winners->members()) {
      go_to(point.index);
      batch.points.push_back({point_key(space_.canonical(coordinates_)), std::move(point), ""});
    }
  return batch;
}

BatchWriter::BatchWriter(ResultStore& store, std::function<void(bool)> after_commit) : store_(store), after_commit_(std::move(after_commit)), thread_([this] { work(); }) {}

BatchWriter::~BatchWriter() { (void)finish(); }

bool BatchWriter::add(Batch batch) {
  std::unique_lock lock(mutex_);
  less_.wait(lock, [&] { return failed_ || (pending_rows_ < most_rows && pending_points_ < most_points); });
  if (failed_) return false;
  pending_rows_ += batch.points.size();
  pending_points_ += batch.states.size();
  pending_.push_back(std::move(batch));
  if (pending_rows_ >= rows_a_commit) more_.notify_one();
  return true;
}

Result<void> BatchWriter::finish() {
  {
    const std::scoped_lock lock(mutex_);
    ending_ = true;
  }
  more_.notify_one();
  if (thread_.joinable()) thread_.join();
  if (failed_) return fail(problem_);
  return {};
}

void BatchWriter::work() {
  for (;;) {
    std::unique_lock lock(mutex_);
    more_.wait_for(lock, commit_after, [&] { return ending_ || pending_rows_ >= rows_a_commit; });
    const std::vector<Batch> batches = std::exchange(pending_, {});
    pending_rows_ = pending_points_ = 0;
    const bool last = ending_;
    lock.unlock();
    less_.notify_all();
    if (!batches.empty()) {
      auto committed = store_.commit(batches);
      if (!committed) {
        lock.lock();
        failed_ = true;
        problem_ = std::move(committed.error());
        less_.notify_all();
        return;
      }
      after_commit_(*committed);
    }
    if (last) return;
  }
}

}  // namespace gambrel::sim
