// Operands told apart by the names of the forward's tensors.
#include "kernels/executor/heads.hpp"

#include <numeric>

namespace gambrel::kernels {
namespace {

using models::Dim;
using models::OpKind;

template <class T>
void load_parts(const std::vector<HeadPart<T>>& parts, std::size_t row, T* to) {
  for (const HeadPart<T>& part : parts) to = std::copy_n(part.view->at(row, part.column, part.width), part.width, to);
}

template <class T>
void add_parts(const std::vector<HeadPart<T>>& parts, std::size_t row, const T* from) {
  for (const HeadPart<T>& part : parts) {
    if (!part.view) {
      from += part.width;
      continue;
    }
    T* to = part.view->at(row, part.column, part.width);
    for (std::size_t i = 0; i < part.width; ++i) to[i] += *from++;
  }
}

template <class T>
std::size_t width_of(const std::vector<HeadPart<T>>& parts) {
  std::size_t width = 0;
  for (const HeadPart<T>& part : parts) width += part.width;
  return width;
}

}  // namespace

// Reads of the forward: queries (absorbed latent ones with their rope part apart), sinks, keys and values: the rank's own and those
// from an exchange with other ranks. Names tell them apart.
template <class T>
Heads<T>::Heads(OpRun<T>& run, const std::vector<View<T>*>& operands) : run_(run) {
  heads_ = run.dim(Dim::heads), kv_heads_ = run.dim(Dim::kv_heads);
  if (run.spec->latent) absorbed_ = absorbs();
  std::vector<View<T>*> own;
  View<T>* exchanged = nullptr;
  std::size_t next = 0;
  for (const models::Use& use : run_.forward.uses) {
    if (use.write) continue;
    View<T>* view = next < operands.size() ? operands[next] : nullptr;
    ++next;
    const std::string_view name = run_.graph.tensor(use.tensor).name;
    auto ends = [&](std::string_view ending) { return name.ends_with(ending); };
    if (ends(".sinks")) sinks_ = view;
    else if (ends("attn.softmax")) continue;
    else if (name.find("attn.keys.") != name.npos) exchanged = view;
    else if (next == 1 && run.forward.kind != OpKind::attention_values) queries_of_.push_back(view);
    else if (absorbed_ && next == 2 && run.forward.kind != OpKind::attention_values) queries_of_.push_back(view);
    else own.push_back(view);
  }
  if (!own.empty()) sources_.push_back(source_of(own));
  if (exchanged) sources_.push_back({exchanged, exchanged, exchanged, {}, {}});
  for (Source& source : sources_) locate(source);
  queries_ = run.tokens.positions;
  if (queries_.size() == run.dim(Dim::queries)) return;
  queries_.resize(run.new_tokens());  // heads were swapped for tokens: all of them in order
  std::iota(queries_.begin(), queries_.end(), run.past());
}

/// Whether the layer's queries were lifted into the latent space.
template <class T>
bool Heads<T>::absorbs() const {
  const std::string& name = run_.forward.name;
  const std::string lifted = name.substr(0, name.find("attn.")) + "attn.q_absorb";
  return std::ranges::any_of(run_.graph.ops(), [&](const models::Op& op) { return op.name == lifted; });
}

template <class T>
typename Heads<T>::Source Heads<T>::source_of(const std::vector<View<T>*>& own) const {
  if (own.size() == 1) return {own[0], own[0], own[0], {}, {}};
  if (run_.spec->attention) return {own[0], own[1], nullptr, {}, {}};
  const bool first = own[0] && own[0]->tensor->name.find("attn.kv_b") != std::string::npos;  // the other is the rotated key
  return {own[first ? 0 : 1], own[first ? 0 : 1], own[first ? 1 : 0], {}, {}};
}

template <class T>
void Heads<T>::locate(Source& source) const {
  for (View<T>* view : {source.k, source.v, source.rotated}) {
    if (!view) continue;
    source.per_sequence = view->rows() / run_.dim(Dim::batch);
    if (source.places.empty()) source.places = view->buffer().places;
  }
  if (!source.places.empty()) return;
  source.places = run_.tokens.positions;
  if (source.per_sequence == source.places.size()) return;
  source.places.resize(source.per_sequence);
  std::iota(source.places.begin(), source.places.end(), 0);
}

template <class T>
std::vector<typename Heads<T>::Key> Heads<T>::keys(Sight seen) const {
  std::vector<Key> keys;
  for (std::size_t s = 0; s < sources_.size(); ++s)
    for (std::size_t i = 0; i < sources_[s].per_sequence; ++i)
      if (seen.holds(sources_[s].places[i])) keys.push_back({s, i, sources_[s].places[i]});
  std::ranges::sort(keys, {}, &Key::place);
  return keys;
}

template <class T>
Sight Heads<T>::seen_here() const {
  Sight all = sight(run_, queries_.front());
  for (std::size_t position : queries_) {
    const Sight one = sight(run_, position);
    all = {std::min(all.first, one.first), std::max(all.end, one.end)};
  }
  return all;
}

template <class T>
typename Heads<T>::Parts Heads<T>::query_parts(std::size_t head) const {
  if (run_.spec->attention) return {{queries_of_[0], head * head_dim(), head_dim()}};
  const std::size_t nope = whole(latent().nope_head_dim), rope = whole(latent().rope_head_dim),
                    lora = whole(latent().kv_lora_rank);
  if (!absorbed_) return {{queries_of_[0], head * (nope + rope), nope + rope}};
  return {{queries_of_[0], head * lora, lora}, {queries_of_[1], head * (nope + rope) + nope, rope}};
}

// Keys stand before values; both behind queries, where these are in the same matrix.
template <class T>
typename Heads<T>::Parts Heads<T>::key_parts(const Source& source, std::size_t head) const {
  auto width = [](View<T>* view) { return view ? view->width() : 0; };
  if (run_.spec->attention) {
    const std::size_t d = head_dim(), both = (source.k == source.v ? 2 : 1) * kv_heads_ * d;
    return {{source.k, width(source.k) - std::min(both, width(source.k)) + head / (heads_ / kv_heads_) * d, d}};
  }
  const std::size_t nope = whole(latent().nope_head_dim), rope = whole(latent().rope_head_dim),
                    v = whole(latent().v_head_dim);
  if (absorbed_) return {{source.k, 0, whole(latent().kv_lora_rank) + rope}};
  return {{source.k, head * (nope + v), nope},
          {source.rotated, source.rotated ? source.rotated->width() - rope : 0, rope}};
}

template <class T>
typename Heads<T>::Parts Heads<T>::value_parts(const Source& source, std::size_t head) const {
  if (run_.spec->attention) {
    const std::size_t d = head_dim(), all = kv_heads_ * d, width = source.v ? source.v->width() : all;
    return {{source.v, width - all + head / (heads_ / kv_heads_) * d, d}};
  }
  const std::size_t nope = whole(latent().nope_head_dim), v = whole(latent().v_head_dim);
  if (absorbed_) return {{source.v, 0, whole(latent().kv_lora_rank)}};
  return {{source.v, head * (nope + v) + nope, v}};
}

template <class T>
template <class PartsOf>
Matrix<T> Heads<T>::load(std::size_t sequence, const std::vector<Key>& keys, PartsOf parts_of) const {
  std::vector<Parts> parts;
  for (const Source& source : sources_) parts.push_back(parts_of(source));
  Matrix<T> loaded(keys.size(), parts.empty() ? 0 : width_of(parts[0]));
  for (std::size_t i = 0; i < keys.size(); ++i)
    load_parts(parts[keys[i].source], sequence * sources_[keys[i].source].per_sequence + keys[i].row,
               loaded.row(static_cast<Eigen::Index>(i)).data());
  return loaded;
}

template <class T>
template <class PartsOf>
void Heads<T>::add(std::size_t sequence, const std::vector<Key>& keys, const Matrix<T>& gradient, PartsOf parts_of) const {
  std::vector<Parts> parts;
  for (const Source& source : sources_) parts.push_back(parts_of(source));
  for (std::size_t i = 0; i < keys.size(); ++i)
    add_parts(parts[keys[i].source], sequence * sources_[keys[i].source].per_sequence + keys[i].row,
              gradient.row(static_cast<Eigen::Index>(i)).data());
}

template <class T>
Matrix<T> Heads<T>::load_queries(std::size_t sequence, std::size_t head) const {
  const Parts parts = query_parts(head);
  Matrix<T> loaded(queries_.size(), width_of(parts));
  for (std::size_t i = 0; i < queries_.size(); ++i)
    load_parts(parts, sequence * queries_.size() + i, loaded.row(static_cast<Eigen::Index>(i)).data());
  return loaded;
}

template <class T>
Matrix<T> Heads<T>::load_keys(std::size_t sequence, std::size_t head, const std::vector<Key>& keys) const {
  return load(sequence, keys, [&](const Source& source) { return key_parts(source, head); });
}

template <class T>
Matrix<T> Heads<T>::load_values(std::size_t sequence, std::size_t head, const std::vector<Key>& keys) const {
  return load(sequence, keys, [&](const Source& source) { return value_parts(source, head); });
}

template <class T>
void Heads<T>::add_queries(std::size_t sequence, std::size_t head, const Matrix<T>& gradient) const {
  const Parts parts = query_parts(head);
  for (std::size_t i = 0; i < queries_.size(); ++i)
    add_parts(parts, sequence * queries_.size() + i, gradient.row(static_cast<Eigen::Index>(i)).data());
}

template <class T>
void Heads<T>::add_keys(std::size_t sequence, std::size_t head, const std::vector<Key>& keys,
                        const Matrix<T>& gradient) const {
  add(sequence, keys, gradient, [&](const Source& source) { return key_parts(source, head); });
}

template <class T>
void Heads<T>::add_values(std::size_t sequence, std::size_t head, const std::vector<Key>& keys,
                          const Matrix<T>& gradient) const {
  add(sequence, keys, gradient, [&](const Source& source) { return value_parts(source, head); });
}

template class Heads<double>;
template class Heads<float>;

}  // namespace gambrel::kernels
