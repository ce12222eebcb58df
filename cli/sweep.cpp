// gambrel sweep: a design space explored, its Pareto front printed.
#include <fmt/format.h>
#include <unistd.h>

#include <charconv>
#include <chrono>
#include <limits>
#include <random>
#include <thread>

#include "cli/progress.hpp"
#include "cli/run_options.hpp"
#include "cli/sweep_table.hpp"
#include "cli/verbs.hpp"
#include "reports/sweep_page.hpp"
#include "sim/sweep/mpi_engine.hpp"
#include "sim/sweep/sbatch.hpp"

namespace gambrel::cli {
namespace {

constexpr double sample_seconds = 1.0;        ///< that a dry run spends on measuring
constexpr std::size_t sample_points = 20'000;  ///< at most

Diagnostic usage_error(std::string message, std::string hint) { return {{}, std::move(message), std::move(hint), Fault::usage}; }

/// A whole number of an option; `otherwise` if the option is not given.
Result<std::uint64_t> whole_number(std::string_view option, const std::string& text, std::uint64_t otherwise, std::uint64_t least) {
  if (text.empty()) return otherwise;
  std::uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{} || end != text.data() + text.size() || value < least) return fail(usage_error(fmt::format("{} is '{}'", option, text), fmt::format("a whole number of at least {}", least)));
  return value;
}

struct Shard {
  unsigned index = 1, count = 1;
};

Result<Shard> parse_shard(const std::string& text) {
  if (text.empty()) return Shard{};
  Shard shard;
  const auto slash = text.find('/');
  const char *begin = text.data(), *end = begin + text.size();
  const bool parsed = slash != std::string::npos && std::from_chars(begin, begin + slash, shard.index).ptr == begin + slash && std::from_chars(begin + slash + 1, end, shard.count).ptr == end;
  if (!parsed || shard.index < 1 || shard.index > shard.count) return fail(usage_error(fmt::format("--shard is '{}'", text), "part i of N, counted from 1, as in --shard 2/8"));
  return shard;
}

class Sweep final : public Verb {
 public:
  std::string_view name() const override { return "sweep"; }
  std::string_view summary() const override { return "Explores the designs of a sweep file; ends with the Pareto front"; }

  void declare(Options& options) override {
    options.positional("sweep", file_, "Sweep file, or a name in configs/sweeps/");
    options.option("--db", database_, "SQLite file for the results; a sweep that was interrupted goes on in it");
    options.option("--jobs", jobs_, "Threads; one a core if left out");
    options.option("--keep", keep_, "Which points the file keeps: all, pareto or top:N");
    options.option("--shard", shard_, "Only part i of N, as in 2/8; `gambrel merge` joins the files");
    options.choice("--search", search_, {"exhaustive", "random", "latin_hypercube", "sobol", "coordinate_descent", "nsga2"}, "Which designs are looked at");
    options.option("--points", points_, "How many of them; exhaustive: all");
    options.option("--seed", seed_, "Of a search that draws; 1 if left out");
    options.option("--set", settings_, "Override any key, of axes too: path=value, path='{sweep: [1, 2]}'; can be repeated");
    options.flag("--dry-run", dry_run_, "Say how many points there are and how long they would take, measured on a sample");
    options.flag("--sensitivity", sensitivity_, "Also how the knee's figures follow each input, and what would have to improve before something else bounds");
    options.option("--sbatch", sbatch_, "Print a Slurm script that runs the sweep in N parts and merges them");
    options.option("--html", html_, "Also write a page: Pareto plot, heat maps, parallel coordinates, each design with its command");
    options.choice("--format", format_, {"table", "json", "csv", "markdown"}, "How to print");
  }

  int run(const Session& session) override {
    auto space = open(session);
    if (!space) return session.report(space.error());
    auto options = sweep_options(**space);
    if (!options) return session.report(options.error());
    const auto keep = sim::parse_keep(keep_text((*space)->file()));
    if (!keep) return session.report(keep.error());
    if (dry_run_) return dry_run(session, **space, *options);
    if (!sbatch_.empty()) return print_sbatch(session, **space);
    if (sim::mpi_ranks().rank > 0) {
      const auto served = sim::serve_rank(**space, options->search, *keep, &stop_requested());
      return served ? done : session.report(served.error());
    }
    return explore(session, **space, *options, *keep);
  }

 private:
  Result<std::unique_ptr<sim::RunSpace>> open(const Session& session) const {
    auto settings = parse_settings(settings_);
    if (!settings) return fail(settings.error());
    return session.catalog().load("sweeps", file_)
        .and_then([&](Node document) { return sim::read_sweep(session.catalog(), std::move(document), *settings); })
        .and_then([&](sim::SweepFile file) { return sim::RunSpace::open(session.catalog(), std::move(file)); });
  }

  /// Without a file or a page only the front is wanted.
  std::string keep_text(const sim::SweepFile& file) const {
    if (!keep_.empty()) return keep_;
    if (database_.empty() && html_.empty() && file.search.kind == "exhaustive" && search_.empty()) return "pareto";
    return file.keep.empty() ? "all" : file.keep;
  }

  Result<sim::SweepOptions> sweep_options(const sim::RunSpace& space) const {
    sim::SweepOptions options{.search = space.file().search};
    if (!search_.empty()) options.search.kind = search_;
    const auto points = whole_number("--points", points_, options.search.points, 1), seed = whole_number("--seed", seed_, options.search.seed, 0), jobs = whole_number("--jobs", jobs_, 0, 1);
    const auto shard = parse_shard(shard_);
    for (const auto* number : {&points, &seed, &jobs})
      if (!*number) return fail(number->error());
    if (!shard) return fail(shard.error());
    options.search.points = *points;
    options.search.seed = *seed;
    options.jobs = static_cast<unsigned>(*jobs);
    options.shard = shard->index;
    options.shards = shard->count;
    return options;
  }

  int dry_run(const Session& session, const sim::RunSpace& space, const sim::SweepOptions& options) const {
    const std::uint64_t points = options.search.points > 0 ? options.search.points : space.size();
    const unsigned jobs = options.jobs > 0 ? options.jobs : std::max(1u, std::thread::hardware_concurrency());
    return session.print(dry_run_text(space, points / options.shards, seconds_of_a_point(space), jobs, format_));
  }

  /// Measured on runs of neighbours, as a sweep meets them, from places all over the space.
  static double seconds_of_a_point(const sim::RunSpace& space) {
    using Clock = std::chrono::steady_clock;
    const auto evaluator = space.evaluator();
    std::mt19937_64 random(1);
    sim::PointResult result;
    const std::uint64_t size = space.size(), run = std::min<std::uint64_t>(size, 500);
    evaluator->evaluate(space.coordinates_of(0), result);
    const auto start = Clock::now();
    std::size_t evaluated = 0;
    double seconds = 0;
    while (evaluated < sample_points && seconds < sample_seconds) {
      std::uint64_t index = random() % size;
      for (std::uint64_t i = 0; i < run && seconds < sample_seconds; ++i, ++evaluated) {
        evaluator->evaluate(space.coordinates_of((index + i) % size), result);
        if (i % 16 == 0) seconds = std::chrono::duration<double>(Clock::now() - start).count();
      }
      seconds = std::chrono::duration<double>(Clock::now() - start).count();
      if (size <= run) break;
    }
    return evaluated > 0 ? seconds / static_cast<double>(evaluated) : 0;
  }

  int print_sbatch(const Session& session, const sim::RunSpace& space) const {
    const auto shards = whole_number("--sbatch", sbatch_, 1, 1), jobs = whole_number("--jobs", jobs_, 0, 1);
    if (!shards) return session.report(shards.error());
    if (!jobs) return session.report(jobs.error());
    std::string further;
    for (const auto& [flag, text] : {std::pair{"--keep", &keep_}, {"--search", &search_}, {"--points", &points_}, {"--seed", &seed_}})
      if (!text->empty()) further += fmt::format("{}{} {}", further.empty() ? "" : " ", flag, *text);
    for (const std::string& setting : settings_) further += fmt::format("{}--set {}", further.empty() ? "" : " ", shell_quoted(setting));
    const std::string database = database_.empty() ? space.file().name + ".sqlite" : database_;
    return session.print(sim::sbatch_script({.shards = static_cast<unsigned>(*shards), .sweep = file_, .database = database, .options = further, .jobs = static_cast<unsigned>(*jobs)}));
  }

  static std::string shell_quoted(const std::string& text) {
    std::string out = "'";
    for (char c : text) out += c == '\'' ? std::string("'\\''") : std::string(1, c);
    return out + "'";
  }

  int explore(const Session& session, const sim::RunSpace& space, sim::SweepOptions options, const sim::Keep& keep) const {
    const sim::SweepContext context{.name = space.file().name, .config_hash = space.config_hash(), .command = "gambrel sweep " + file_, .host = {}, .date = {}};
    auto store = sim::ResultStore::open(database_.empty() ? ":memory:" : database_, sim::describe(space, options.search, keep), context);
    if (!store) return session.report(store.error());
    ProgressText progress(isatty(STDERR_FILENO) == 1);
    options.stop = &stop_requested();
    options.progress = [&](const sim::SweepProgress& now) {
      if (const auto text = progress.update(now)) write_progress(*text);
    };
    const auto summary = sim::run_sweep(space, *store, options);
    write_progress(progress.close());
    if (!summary) return session.report(summary.error());
    if (summary->interrupted) {
      session.say(fmt::format("interrupted: {} points are stored{}", summary->done, database_.empty() ? " nowhere, there is no --db" : "; the same command goes on"));
      return interrupted_exit();
    }
    return print_front(session, space, *store, *summary);
  }

  static void write_progress(const std::string& text) {
    std::fwrite(text.data(), 1, text.size(), stderr);
    std::fflush(stderr);
  }

  int print_front(const Session& session, const sim::RunSpace& space, sim::ResultStore& store, const sim::SweepSummary& summary) const {
    auto front = store.front();
    if (!front) return session.report(front.error());
    if (auto written = store.write_front([&](const sim::PointResult& point) { return space.command(space.coordinates_of(point.index)); }); !written) return session.report(written.error());
    SweepResult result{.space = space, .front = std::move(*front), .knee = {}, .summary = summary, .database = database_, .sensitivity = {}};
    result.knee = sim::knee_point(space.objectives(), result.front);
    if (sensitivity_ && !result.front.empty()) {
      auto found = sim::sensitivity(space, space.coordinates_of(result.front[result.knee.value_or(0)].index));
      if (!found) return session.report(found.error());
      result.sensitivity = std::move(*found);
    }
    if (!html_.empty())
      if (const int failed = write_page(session, result, store); failed != done) return failed;
    return session.print(sweep_text(result, format_, isatty(STDOUT_FILENO) == 1));
  }

  int write_page(const Session& session, const SweepResult& result, sim::ResultStore& store) const {
    reports::SweepPage page(result.space, result.space.file().name);
    if (auto read = store.each([&](const sim::StoredPoint& stored) { page.add(stored.point); }); !read) return session.report(read.error());
    page.facts = sweep_facts(result);
    page.front = result.front;
    page.knee = result.knee;
    page.sensitivity = result.sensitivity;
    for (const sim::PointResult& point : result.front) page.bounds.push_back(bound_of(result.space, point));
    return session.write_file(html_, reports::write_sweep_html(page));
  }

  std::string file_, database_, html_, jobs_, keep_, shard_, search_, points_, seed_, sbatch_, format_ = "table";
  std::vector<std::string> settings_;
  bool dry_run_ = false, sensitivity_ = false;
};

}  // namespace

std::unique_ptr<Verb> sweep_verb() { return std::make_unique<Sweep>(); }

}  // namespace gambrel::cli
