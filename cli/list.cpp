// gambrel list: the names that files and options can use.
#include <fmt/format.h>

#include <algorithm>

#include "base/data_type.hpp"
#include "base/load.hpp"
#include "cli/verbs.hpp"
#include "models/import_hf.hpp"
#include "models/op.hpp"

namespace gambrel::cli {
namespace {

struct Entry {
  std::string name, about;
};

/// A file's own line about itself: its display name, else the first sentence of its notes or its source.
std::string about(const Catalog& catalog, std::string_view folder, const std::string& name) {
  const auto document = catalog.load(folder, name);
  if (!document) return "(not readable: gambrel show " + name + " says why)";
  for (std::string_view key : {"name", "notes", "source"})
    if (const std::string text = document->text_or(key, ""); !text.empty()) return text.substr(0, std::min(text.find(". "), text.find('\n')));
  return "";
}

std::vector<Entry> files(const Catalog& catalog, std::string_view folder) {
  std::vector<Entry> entries;
  for (const std::string& name : catalog.names(folder)) entries.push_back({name, about(catalog, folder, name)});
  return entries;
}

std::vector<Entry> formats() {
  std::vector<Entry> entries;
  for (const std::string& name : data_type_names())
    if (const auto type = parse_data_type(name)) entries.push_back({name, fmt::format("{} bits an element as stored{}", type->type.storage_bits(), type->weight_only ? ", weights only" : "")});
  return entries;
}

std::vector<Entry> operators() {
  std::vector<Entry> entries;
  for (const auto& row : models::op_table()) entries.push_back({std::string(row.name), "FLOPs: " + std::string(row.formula)});
  return entries;
}

std::vector<Entry> families() {
  std::vector<Entry> entries;
  for (const std::string& name : models::known_model_types()) entries.push_back({name, ""});
  return entries;
}

class List final : public Verb {
 public:
  std::string_view name() const override { return "list"; }
  std::string_view summary() const override { return "Names that files and options can use"; }

  void declare(Options& options) override {
    options.choice("what", what_, {"chips", "systems", "models", "runs", "sweeps", "formats", "operators", "families"}, "What to list");
    options.choice("--format", format_, {"table", "json"}, "How to print");
  }

  int run(const Session& session) override {
    std::vector<Entry> entries;
    if (what_ == "formats") entries = formats();
    else if (what_ == "operators") entries = operators();
    else if (what_ == "families") entries = families();
    else entries = files(session.catalog(), what_);
    return session.print(format_ == "json" ? json(entries) : table(entries));
  }

 private:
  static std::string table(const std::vector<Entry>& entries) {
    std::size_t width = 0;
    for (const Entry& e : entries) width = std::max(width, e.name.size());
    std::string text;
    for (const Entry& e : entries) text += e.about.empty() ? e.name + "\n" : fmt::format("{:<{}}  {}\n", e.name, width, e.about);
    return text;
  }

  std::string json(const std::vector<Entry>& entries) const {
    Node root = Node::mapping();
    root.set("schema_version", Node::of(1.0));
    Node& list = root.set(what_, Node::sequence());
    for (const Entry& e : entries) {
      Node& item = list.append(Node::mapping());
      item.set("name", Node::of(e.name));
      item.set("about", Node::of(e.about));
    }
    return to_json(root) + "\n";
  }

  std::string what_ = "chips", format_ = "table";
};

}  // namespace

std::unique_ptr<Verb> list_verb() { return std::make_unique<List>(); }

}  // namespace gambrel::cli
