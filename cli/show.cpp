// gambrel show: a configuration as gambrel sees it, `base:` resolved and Hugging Face files lowered.
#include <fmt/format.h>

#include <filesystem>

#include "base/load.hpp"
#include "base/schema.hpp"
#include "cli/chip_area.hpp"
#include "cli/show_store.hpp"
#include "cli/verbs.hpp"
#include "hw/chip.hpp"
#include "hw/technology.hpp"
#include "models/build.hpp"
#include "sim/run.hpp"

namespace gambrel::cli {
namespace {

struct Folder {
  std::string_view folder, kind;
};
constexpr Folder folders[] = {{"chips", "chip"}, {"systems", "system"}, {"models", "model"}, {"runs", "run"}};

/// What no schema sees: heads that do not divide, a peak and a rate that differ.
Diagnostics deeper(const Node& document, std::string_view kind) {
  if (kind == "model")
    if (const auto model = models::read_model(document); !model) return model.error();
  if (kind == "chip")
    if (const auto chip = hw::read_chip(document); !chip) return chip.error();
  return {};
}

class Show final : public Verb {
 public:
  std::string_view name() const override { return "show"; }
  std::string_view summary() const override { return "A chip, system, model or run as gambrel sees it, and where each figure is from; or the results of a sweep"; }

  void declare(Options& options) override {
    options.positional("name", what_, "A name of `gambrel list chips|systems|models|runs`, a file (then --kind says what it is), or a result file of `gambrel sweep`");
    options.choice("--kind", kind_, {"", "chip", "system", "model", "run"}, "What the name is, where it is not clear");
    options.choice("--format", format_, {"", "yaml", "json", "dot", "table", "csv", "markdown"}, "yaml, json, or dot: the model's graph of one decode step, for GraphViz; of results: table, csv, json or markdown");
    options.flag("--front", results_.front, "Of results: only the Pareto front, with the command that computes each point");
    options.option("--sql", results_.sql, "Of results: a query of one's own, of the views `designs` and `pareto`");
    options.flag("--hash", results_.hash, "Of results: only the hash of all rows, equal for equal sweeps");
    options.flag("--area", area_, "A chip's area and price by the first-order model, and what one more core, MiB or GB/s takes; --format json for figures");
  }

  int run(const Session& session) override {
    if (kind_.empty() && is_database(what_)) return show_results(session);
    if (results_.front || results_.hash || !results_.sql.empty() || format_ == "table" || format_ == "csv" || format_ == "markdown")
      return session.report({{{}, std::filesystem::exists(what_) ? fmt::format("'{}' holds no results of a sweep", what_) : fmt::format("there is no file '{}'", what_), "--front, --sql, --hash and --format table|csv|markdown are for the file that `gambrel sweep --db` writes", Fault::usage}});
    for (const Folder& f : folders) {
      if (kind_.empty() ? !session.catalog().has(f.folder, what_) : kind_ != f.kind) continue;
      return show(session, f);
    }
    return session.report({{{}, fmt::format("nothing shipped is named '{}'", what_), "`gambrel list chips` and the like name what there is; give --kind with a file", Fault::input}});
  }

 private:
  int show_results(const Session& session) const {
    if (format_ == "yaml" || format_ == "dot" || area_) return session.report({{{}, fmt::format("'{}' holds results of a sweep", what_), "--format table, csv, json or markdown", Fault::usage}});
    StoreView view = results_;
    view.path = what_;
    view.format = format_;
    return show_store(session, view);
  }

  int show(const Session& session, const Folder& f) const {
    auto document = f.kind == "model" ? sim::load_model_document(session.catalog(), what_) : session.catalog().load(f.folder, what_);
    if (!document) return session.report(document.error());
    const bool comparison = f.kind == "run" && document->find("baseline");
    if (const Diagnostics problems = validate(*document, comparison ? "comparison" : f.kind); !problems.empty()) return session.report(problems);
    if (const Diagnostics problems = deeper(*document, f.kind); !problems.empty()) return session.report(problems);
    if (area_) return show_area(session, f, *document);
    if (format_ != "dot") return session.print(format_ == "json" ? to_json(*document) + "\n" : to_yaml(*document));
    if (f.kind != "model") return session.report({{{}, "only a model has a graph", "name a model", Fault::usage}});
    const auto model = models::read_model(*document);
    return session.print(models::build(*model, {model->dtype, model->precision, {}}, {.past_tokens = 4096}).to_dot());
  }

  int show_area(const Session& session, const Folder& f, const Node& document) const {
    if (f.kind != "chip") return session.report({{{}, "only a chip has an area", "name a chip of `gambrel list chips`", Fault::usage}});
    const auto technology = hw::load_technology(session.catalog());
    if (!technology) return session.report(technology.error());
    if (!*technology) return session.report({{{}, "there is no technology table", "the configurations hold one: technology/default.yaml", Fault::input}});
    auto chip = hw::read_chip(document);
    if (!chip) return session.report(chip.error());
    if (chip->process.value <= 0)
      return session.report({{document.at, "the chip states no process, so its area is not known", "state `area: {process: 5 nm}`", Fault::input}});
    hw::fill_energy(*chip, **technology);
    return session.print(format_ == "json" ? to_json(area_node(*chip, **technology)) + "\n" : area_text(*chip, **technology));
  }

  std::string what_, kind_, format_;
  StoreView results_;
  bool area_ = false;
};

}  // namespace

std::unique_ptr<Verb> show_verb() { return std::make_unique<Show>(); }

}  // namespace gambrel::cli
