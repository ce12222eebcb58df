// Collectives among ranks of one process: the data really moves, in rank order, so that sums do not depend on timing.
#include "kernels/executor/collectives.hpp"

#include <algorithm>
#include <numeric>

namespace gambrel::kernels {
namespace {

template <class T>
using Group = std::vector<Member<T>>;
using Columns = std::vector<std::size_t>;

template <class T>
void add(Buffer<T>& sum, const Buffer<T>& term) {
  std::transform(sum.data.begin(), sum.data.end(), term.data.begin(), sum.data.begin(), std::plus<>());
}

template <class T>
Buffer<T> sum_of(const Group<T>& group) {
  Buffer<T> sum = *group.front().in[0].buffer;
  for (std::size_t i = 1; i < group.size(); ++i) add(sum, *group[i].in[0].buffer);
  return sum;
}

template <class T>
void append_row(Buffer<T>& to, const Buffer<T>& from, std::size_t row, std::size_t first_column = 0) {
  to.data.insert(to.data.end(), from.row(row) + first_column, from.row(row) + from.width);
  ++to.rows;
}

/// One rank's rows behind another's; of wider rows the last columns.
template <class T>
Buffer<T> gather_rows(const Group<T>& group) {
  Buffer<T> all(0, group.front().in[0].columns);
  for (std::size_t i = 0; i < group.size(); ++i) {
    const Buffer<T>& mine = *group[i].in[0].buffer;
    for (std::size_t row = 0; row < mine.rows; ++row) {
      append_row(all, mine, row, mine.width - all.width);
      if (!mine.tokens.empty()) all.tokens.push_back(mine.tokens[row]);
      if (mine.tags.empty()) continue;
      all.tags.push_back(mine.tags[row]);
      all.tags.back().part = i;
    }
  }
  return all;
}

/// One rank's columns beside another's.
template <class T>
Buffer<T> gather_columns(const Group<T>& group) {
  const Buffer<T>& first = *group.front().in[0].buffer;
  Buffer<T> all(first.rows, first.width * group.size());
  all.know(first);
  for (std::size_t i = 0; i < group.size(); ++i)
    for (std::size_t row = 0; row < all.rows; ++row)
      std::copy_n(group[i].in[0].buffer->row(row), first.width, all.row(row) + i * first.width);
  return all;
}

/// The rows of a sum that are this member's: those it once brought, or its share of them all. They fill the last columns of `to`.
template <class T>
void take_rows(const Buffer<T>& sum, std::size_t member, std::size_t members, Buffer<T>& to) {
  const std::size_t width = std::max(to.width, sum.width);
  Buffer<T> mine(0, width);
  for (std::size_t row = 0; row < sum.rows; ++row) {
    const std::size_t owner = sum.tags.empty() ? row / (sum.rows / members) : sum.tags[row].part;
    if (owner != member) continue;
    mine.data.insert(mine.data.end(), width - sum.width, T(0));
    append_row(mine, sum, row);
    if (!sum.tags.empty()) mine.tags.push_back(sum.tags[row]);
  }
  if (to.data.size() == mine.data.size()) add(mine, to);  // another reader's gradient of other columns
  to = std::move(mine);
}

template <class T>
void take_columns(const Buffer<T>& from, const Columns& columns, Buffer<T>& to) {
  Buffer<T> mine(from.rows, columns.size());
  mine.know(from);
  for (std::size_t row = 0; row < from.rows; ++row)
    for (std::size_t c = 0; c < columns.size(); ++c) mine.row(row)[c] = from.row(row)[columns[c]];
  to = std::move(mine);
}

Columns block(std::size_t index, std::size_t width) {
  Columns columns(width);
  std::iota(columns.begin(), columns.end(), index * width);
  return columns;
}

/// Which columns of a sum each member keeps: heads and what belongs to them where a 2D layout scatters a mixer's first product,
/// a part of either half of gates; a block otherwise.
template <class T>
std::vector<Columns> scattered_columns(const Exchange<T>& e, std::size_t width) {
  std::vector<Columns> columns;
  const std::string_view product = e.path.substr(0, e.path.rfind('.'));
  const bool halves = product == "mlp.gate_up" || product == "attn.qkv";
  for (const Member<T>& member : e.group) {
    const std::size_t rank = member.place.tensor % e.cut.columns, outer = e.cut.columns / e.group.size();
    columns.push_back(halves ? e.weights.outputs_within(std::string(product) + ".bias", *e.spec,
                                                        {rank / e.group.size(), outer}, {rank, e.cut.columns})
                             : block(columns.size(), width / e.group.size()));
  }
  return columns;
}

template <class T>
void all_gather(Exchange<T>& e) {
  const Buffer<T>& first = *e.group.front().in[0].buffer;
  const std::size_t width = whole(e.op.dims[models::Dim::n]);
  const Buffer<T> all = width > first.width ? gather_columns(e.group) : gather_rows(e.group);
  for (Member<T>& member : e.group) *member.out[0].buffer = all;
}

template <class T>
void reduce_scatter(Exchange<T>& e) {
  const Buffer<T> sum = sum_of(e.group);
  const bool by_rows = whole(e.op.dims[models::Dim::n]) >= sum.width;
  const auto columns = by_rows ? std::vector<Columns>{} : scattered_columns(e, sum.width);
  for (std::size_t i = 0; i < e.group.size(); ++i) {
    Buffer<T>& out = *e.group[i].out[0].buffer;
    if (!by_rows) take_columns(sum, columns[i], out);
    else out = Buffer<T>(), take_rows(sum, i, e.group.size(), out);
  }
}

/// Of an all-gather: gradients of the copies are added, and each takes what it brought.
template <class T>
void all_gather_adjoint(Exchange<T>& e) {
  const Buffer<T> sum = sum_of(e.group);
  const bool by_rows = e.group.front().out[0].buffer->width >= sum.width;
  for (std::size_t i = 0; i < e.group.size(); ++i) {
    Buffer<T>& out = *e.group[i].out[0].buffer;
    if (by_rows) take_rows(sum, i, e.group.size(), out);
    else take_columns(sum, block(i, sum.width / e.group.size()), out);
  }
}

/// Of a reduce-scatter: what each kept goes to all.
template <class T>
void reduce_scatter_adjoint(Exchange<T>& e) {
  const std::size_t width = e.group.front().out[0].buffer->width, mine = e.group.front().in[0].buffer->width;
  Buffer<T> all;
  if (mine >= width) {
    all = gather_rows(e.group);
  } else {
    all = Buffer<T>(e.group.front().in[0].buffer->rows, width);
    const auto columns = scattered_columns(e, width);
    for (std::size_t i = 0; i < e.group.size(); ++i)
      for (std::size_t row = 0; row < all.rows; ++row)
        for (std::size_t c = 0; c < columns[i].size(); ++c)
          all.row(row)[columns[i][c]] += e.group[i].in[0].buffer->row(row)[c];
  }
  for (Member<T>& member : e.group) *member.out[0].buffer = all;
}

/// Rows go to the rank that holds their expert.
template <class T>
void send(const Group<T>& group, std::size_t experts_of_rank) {
  std::vector<Buffer<T>> received(group.size(), Buffer<T>(0, group.front().in[0].buffer->width));
  for (std::size_t from = 0; from < group.size(); ++from) {
    const Buffer<T>& in = *group[from].in[0].buffer;
    for (std::size_t row = 0; row < in.rows; ++row) {
      Tag tag = in.tags[row];
      tag.rank = from;
      append_row(received[tag.expert / experts_of_rank], in, row);
      received[tag.expert / experts_of_rank].tags.push_back(tag);
    }
  }
  for (std::size_t i = 0; i < group.size(); ++i) *group[i].out[0].buffer = std::move(received[i]);
}

/// Rows go back to where they came from.
template <class T>
void send_back(const Group<T>& group) {
  std::vector<Buffer<T>> received(group.size());
  std::vector<std::size_t> rows(group.size());
  for (const Member<T>& member : group)
    for (const Tag& tag : member.in[0].buffer->tags) ++rows[tag.rank];
  for (std::size_t i = 0; i < group.size(); ++i) {
    received[i] = Buffer<T>(rows[i], group[i].in[0].buffer->width);
    received[i].tags.resize(rows[i]);
  }
  for (const Member<T>& member : group) {
    const Buffer<T>& in = *member.in[0].buffer;
    for (std::size_t row = 0; row < in.rows; ++row) {
      const Tag& tag = in.tags[row];
      std::copy_n(in.row(row), in.width, received[tag.rank].row(tag.row));
      received[tag.rank].tags[tag.row] = tag;
    }
  }
  for (std::size_t i = 0; i < group.size(); ++i) *group[i].out[0].buffer = std::move(received[i]);
}

/// Each has all rows of some columns; then each has some rows of all columns.
template <class T>
void columns_for_rows(const Group<T>& group) {
  const std::size_t n = group.size(), width = group[0].in[0].buffer->width, rows = group[0].in[0].buffer->rows / n;
  for (std::size_t i = 0; i < n; ++i) {
    Buffer<T> out(rows, width * n);
    for (std::size_t from = 0; from < n; ++from)
      for (std::size_t row = 0; row < rows; ++row)
        std::copy_n(group[from].in[0].buffer->row(i * rows + row), width, out.row(row) + from * width);
    *group[i].out[0].buffer = std::move(out);
  }
}

/// The way back.
template <class T>
void rows_for_columns(const Group<T>& group) {
  const std::size_t n = group.size(), width = group[0].in[0].buffer->width / n, rows = group[0].in[0].buffer->rows;
  for (std::size_t i = 0; i < n; ++i) {
    Buffer<T> out(rows * n, width);
    for (std::size_t from = 0; from < n; ++from)
      for (std::size_t row = 0; row < rows; ++row)
        std::copy_n(group[from].in[0].buffer->row(row) + i * width, width, out.row(from * rows + row));
    *group[i].out[0].buffer = std::move(out);
  }
}

/// Which columns of every rank's matrix a context rank has after heads were swapped for tokens.
template <class T>
Columns swapped_columns(const Exchange<T>& e, const Member<T>& member) {
  const std::size_t n = e.group.size(), t = member.place.tensor % e.cut.columns, c = member.place.context;
  const Portion outer{t, e.cut.columns}, inner{t * n + c, e.cut.columns * n};
  if (e.path == "mamba.in.all_to_all") return e.weights.outputs_within("mamba.in.bias", *e.spec, outer, inner);
  const models::GroupedAttention& a = *e.spec->attention;
  const Columns all = e.weights.outputs_within("attn.qkv.bias", *e.spec, outer, inner);
  const std::size_t ranks = e.cut.columns * n, d = whole(a.head_dim), q = whole(a.heads) / ranks * d,
                    kv = std::max<std::size_t>(1, whole(a.kv_heads) / ranks) * d;
  const std::size_t first = e.path == "attn.q.all_to_all" ? 0 : e.path == "attn.k.all_to_all" ? q : q + kv,
                    count = e.path == "attn.q.all_to_all" ? q : kv;
  return {all.begin() + static_cast<std::ptrdiff_t>(first), all.begin() + static_cast<std::ptrdiff_t>(first + count)};
}

/// Each has its own tokens of all heads; then each has all tokens, in order, of some heads.
template <class T>
void heads_for_tokens(const Exchange<T>& e, bool adds) {
  const std::size_t past = whole(e.step.past_tokens), n = whole(e.step.new_tokens), sequences = e.group[0].tokens.sequences;
  for (const Member<T>& to : e.group) {
    const Columns columns = adds ? block(to.place.context, to.out[0].columns) : swapped_columns(e, to);
    Buffer<T> out(sequences * n, columns.size());
    for (std::size_t i = 0; i < n; ++i) out.places.push_back(past + i);
    for (const Member<T>& from : e.group) {
      const auto& positions = from.tokens.positions;
      for (std::size_t row = 0; row < sequences * positions.size(); ++row) {
        const std::size_t at = row / positions.size() * n + positions[row % positions.size()] - past;
        for (std::size_t c = 0; c < columns.size(); ++c)
          out.row(at)[c] = from.in[0].buffer->row(row)[columns[c]];
      }
    }
    *to.out[0].buffer = std::move(out);
  }
}

/// The way back: blocks of heads beside each other, or (a gradient) added where they came from.
template <class T>
void tokens_for_heads(const Exchange<T>& e, bool adjoint) {
  const std::size_t past = whole(e.step.past_tokens), n = whole(e.step.new_tokens);
  std::vector<Columns> columns;
  for (const Member<T>& from : e.group)
    columns.push_back(adjoint ? swapped_columns(e, from) : block(from.place.context, from.in[0].buffer->width));
  for (const Member<T>& to : e.group) {
    const auto& positions = to.tokens.positions;
    const std::size_t rows = to.tokens.sequences * positions.size(),
                      width = adjoint ? to.out[0].buffer->width : e.group[0].in[0].buffer->width * e.group.size();
    Buffer<T> out(rows, width);
    for (std::size_t i = 0; i < e.group.size(); ++i)
      for (std::size_t row = 0; row < rows; ++row) {
        const T* x = e.group[i].in[0].buffer->row(row / positions.size() * n + positions[row % positions.size()] - past);
        for (std::size_t c = 0; c < columns[i].size(); ++c) out.row(row)[columns[i][c]] += x[c];
      }
    if (adjoint) add(out, *to.out[0].buffer);  // others send gradients of other heads
    *to.out[0].buffer = std::move(out);
  }
}

/// Positions of a member's rows of one sequence.
template <class T>
std::vector<std::size_t> places_of(const Member<T>& member) {
  const Buffer<T>& buffer = *member.in[0].buffer;
  return buffer.places.empty() ? member.tokens.positions : buffer.places;
}

/// Keys and values of others, a sequence's blocks in the order in which they come round; `own`: one's own too, in rank order.
template <class T>
void exchange_keys(const Exchange<T>& e, bool own) {
  const std::size_t members = e.group.size(), sequences = e.group[0].tokens.sequences;
  for (std::size_t to = 0; to < members; ++to) {
    Buffer<T>& out = *e.group[to].out[0].buffer;
    out = Buffer<T>(0, whole(e.op.dims[models::Dim::n]));
    for (std::size_t s = 0; s < sequences; ++s)
      for (std::size_t hop = own ? 0 : 1; hop < members; ++hop) {
        const Member<T>& from = e.group[own ? hop : (to + members - hop) % members];
        const std::vector<std::size_t> places = places_of(from);
        for (std::size_t i = 0; i < places.size(); ++i, ++out.rows) {
          for (const Piece<T>& piece : from.in) {
            const T* end = piece.buffer->row(s * places.size() + i) + piece.buffer->width;
            out.data.insert(out.data.end(), end - piece.columns, end);
          }
          if (s == 0) out.places.push_back(places[i]);
        }
      }
  }
}

/// Gradients of keys and values go back to their owner and are added there.
template <class T>
void exchange_keys_adjoint(Exchange<T>& e, bool own) {
  const std::size_t members = e.group.size(), sequences = e.group[0].tokens.sequences;
  for (std::size_t to = 0; to < members; ++to) {
    const std::vector<std::size_t>& places = e.group[to].tokens.positions;
    for (std::size_t from = 0; from < members; ++from) {
      if (!own && from == to) continue;
      const Buffer<T>& in = *e.group[from].in[0].buffer;
      // The block stands behind those of members that came before: equal lengths, for training tokens are cut evenly.
      const std::size_t hop = own ? to : (from + members - to) % members - 1, per_sequence = in.rows / sequences;
      for (std::size_t s = 0; s < sequences; ++s)
        for (std::size_t i = 0; i < places.size(); ++i) {
          const T* x = in.row(s * per_sequence + hop * places.size() + i);
          for (Piece<T>& piece : e.group[to].out) {
            T* y = piece.buffer->row(s * places.size() + i) + piece.buffer->width - piece.columns;
            for (std::size_t c = 0; c < piece.columns; ++c) y[c] += *x++;
          }
        }
    }
  }
}

/// Each rank's own rows of a gradient that all ranks have whole, gathered (Communication::backward_only).
template <class T>
void gather_own_rows(const Exchange<T>& e) {
  Buffer<T> all = *e.group.front().in[0].buffer;
  const std::size_t rows = all.rows / e.group.size();
  for (std::size_t i = 0; i < e.group.size(); ++i)
    for (std::size_t row = i * rows; row < (i + 1) * rows; ++row)
      std::copy_n(e.group[i].in[0].buffer->row(row), all.width, all.row(row));
  for (const Member<T>& member : e.group) *member.out[0].buffer = all;
}

template <class T>
bool all_to_all(Exchange<T>& e) {
  const bool expert = e.op.communication->axis == models::MeshAxis::expert;
  const std::size_t experts = expert ? whole(e.spec->moe->experts()) / e.group.size() : 0;
  auto ends = [&](std::string_view path) { return e.path == path; };
  if (expert && ends("moe.dispatch.all_to_all")) e.adjoint ? send_back(e.group) : send(e.group, experts);
  else if (expert && ends("moe.combine.all_to_all")) e.adjoint ? send(e.group, experts) : send_back(e.group);
  else if (ends("moe.own.all_to_all")) e.adjoint ? rows_for_columns(e.group) : columns_for_rows(e.group);
  else if (ends("moe.combine.all_to_all")) e.adjoint ? columns_for_rows(e.group) : rows_for_columns(e.group);
  else if (ends("attn.result.all_to_all") || ends("mamba.result.all_to_all"))
    e.adjoint ? heads_for_tokens(e, true) : tokens_for_heads(e, false);
  else if (e.op.communication->axis == models::MeshAxis::context)
    e.adjoint ? tokens_for_heads(e, true) : heads_for_tokens(e, false);
  else return false;
  return true;
}

template <class T>
void all_reduce(Exchange<T>& e) {
  const Buffer<T> sum = sum_of(e.group);
  for (Member<T>& member : e.group) *member.out[0].buffer = sum;
}

}  // namespace

template <class T>
bool run_collective(Exchange<T>& e) {
  const bool keys = e.path.starts_with("attn.keys.");
  switch (e.kind) {
    case CollectiveKind::all_reduce: return all_reduce(e), true;
    case CollectiveKind::all_gather:
      if (keys) e.adjoint ? exchange_keys_adjoint(e, true) : exchange_keys(e, true);
      else if (e.path == "moe.own.all_gather") gather_own_rows(e);
      else e.adjoint ? all_gather_adjoint(e) : all_gather(e);
      return true;
    case CollectiveKind::reduce_scatter: e.adjoint ? reduce_scatter_adjoint(e) : reduce_scatter(e); return true;
    case CollectiveKind::all_to_all: return all_to_all(e);
    case CollectiveKind::point_to_point:
      if (!keys) return false;
      e.adjoint ? exchange_keys_adjoint(e, false) : exchange_keys(e, false);
      return true;
    default: return false;
  }
}

template bool run_collective(Exchange<double>&);
template bool run_collective(Exchange<float>&);

}  // namespace gambrel::kernels
