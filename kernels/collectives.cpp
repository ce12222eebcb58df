// Collectives among ranks of one process: the data really moves, in rank order, so that sums do not depend on timing.
#include <algorithm>

#include "kernels/op_run.hpp"

namespace gambrel::kernels {
namespace {

template <class T>
using Group = std::vector<Member<T>>;

template <class T>
Buffer<T> sum_of(const Group<T>& group) {
  Buffer<T> sum = *group.front().in;
  for (std::size_t i = 1; i < group.size(); ++i)
    std::transform(sum.data.begin(), sum.data.end(), group[i].in->data.begin(), sum.data.begin(), std::plus<>());
  return sum;
}

template <class T>
void append_row(Buffer<T>& to, const Buffer<T>& from, std::size_t row, std::size_t first_column = 0) {
  to.data.insert(to.data.end(), from.row(row) + first_column, from.row(row) + from.width);
  ++to.rows;
}

/// One rank's rows behind another's; of wider rows the last `width` columns.
template <class T>
Buffer<T> gather_rows(const Group<T>& group, std::size_t width) {
  Buffer<T> all(0, width);
  for (std::size_t i = 0; i < group.size(); ++i)
    for (std::size_t row = 0; row < group[i].in->rows; ++row) {
      append_row(all, *group[i].in, row, group[i].in->width - width);
      if (group[i].in->tags.empty()) continue;
      all.tags.push_back(group[i].in->tags[row]);
      all.tags.back().part = i;
    }
  return all;
}

/// One rank's columns beside another's.
template <class T>
Buffer<T> gather_columns(const Group<T>& group) {
  const std::size_t part = group.front().in->width;
  Buffer<T> all(group.front().in->rows, part * group.size());
  for (std::size_t i = 0; i < group.size(); ++i)
    for (std::size_t row = 0; row < all.rows; ++row) std::copy_n(group[i].in->row(row), part, all.row(row) + i * part);
  return all;
}

/// The rows of a sum that are this member's: those it once brought, or its share of them all.
template <class T>
Buffer<T> share_of(const Buffer<T>& sum, std::size_t member, std::size_t members) {
  Buffer<T> mine(0, sum.width);
  for (std::size_t row = 0; row < sum.rows; ++row) {
    const std::size_t owner = sum.tags.empty() ? row / (sum.rows / members) : sum.tags[row].part;
    if (owner != member) continue;
    append_row(mine, sum, row);
    if (!sum.tags.empty()) mine.tags.push_back(sum.tags[row]);
  }
  return mine;
}

/// Rows go to the rank that holds their expert.
template <class T>
void send(const Group<T>& group, std::size_t experts_of_rank) {
  std::vector<Buffer<T>> received(group.size(), Buffer<T>(0, group.front().in->width));
  for (std::size_t from = 0; from < group.size(); ++from)
    for (std::size_t row = 0; row < group[from].in->rows; ++row) {
      Tag tag = group[from].in->tags[row];
      tag.rank = from;
      append_row(received[tag.expert / experts_of_rank], *group[from].in, row);
      received[tag.expert / experts_of_rank].tags.push_back(tag);
    }
  for (std::size_t i = 0; i < group.size(); ++i) *group[i].out = std::move(received[i]);
}

/// Rows go back to where they came from.
template <class T>
void send_back(const Group<T>& group) {
  std::vector<std::size_t> rows(group.size());
  for (const Member<T>& member : group)
    for (const Tag& tag : member.in->tags) ++rows[tag.rank];
  for (std::size_t i = 0; i < group.size(); ++i) *group[i].out = Buffer<T>(rows[i], group[i].in->width);
  for (const Member<T>& member : group)
    for (std::size_t row = 0; row < member.in->rows; ++row)
      std::copy_n(member.in->row(row), member.in->width,
                  group[member.in->tags[row].rank].out->row(member.in->tags[row].row));
}

}  // namespace

template <class T>
bool run_collective(const models::Op& op, std::string_view path, std::vector<Member<T>>& group, double experts) {
  const std::size_t width = whole(op.dims[models::Dim::n]);
  Buffer<T> shared;
  switch (op.communication->kind) {
    case CollectiveKind::all_reduce: shared = sum_of(group); break;
    case CollectiveKind::all_gather:
      shared = width > group.front().in->width ? gather_columns(group) : gather_rows(group, width);
      break;
    case CollectiveKind::reduce_scatter:
      shared = sum_of(group);
      for (std::size_t i = 0; i < group.size(); ++i) *group[i].out = share_of(shared, i, group.size());
      return true;
    case CollectiveKind::all_to_all:
      if (path == "moe.dispatch.all_to_all") send(group, whole(experts) / group.size());
      else if (path == "moe.combine.all_to_all") send_back(group);
      else return false;
      return true;
    default: return false;
  }
  for (Member<T>& member : group) *member.out = shared;
  return true;
}

template bool run_collective(const models::Op&, std::string_view, std::vector<Member<double>>&, double);
template bool run_collective(const models::Op&, std::string_view, std::vector<Member<float>>&, double);

}  // namespace gambrel::kernels
