// `gambrel show DB` and `gambrel merge`: the rows of result files through the program.
#include <nlohmann/json.hpp>

#include <algorithm>

#include "tests/unit/formula_space.hpp"

using namespace gambrel;
using namespace gambrel::sim;
using namespace gambrel::test;

namespace {

bool has(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }
long lines(const std::string& text) { return std::count(text.begin(), text.end(), '\n'); }

void write_sweep(const std::string& path, const DesignSpace& space, unsigned shard = 1, unsigned shards = 1) {
  ResultStore store = open_store(path, space);
  run(space, store, {.jobs = 2, .shard = shard, .shards = shards});
}

}  // namespace

TEST_CASE("show: results as table, CSV, JSON and Markdown") {
  const FastFolder folder;
  const std::string file = folder.path("a.sqlite");
  const FormulaSpace space({10, 6});
  write_sweep(file, space);

  const std::string table = output_of("show " + file);
  CHECK(table.starts_with("point  chip.key0  chip.key1  state"));
  CHECK(lines(table) == 2 + 40 + 1);
  CHECK(has(table, "... 20 more rows; --format csv has all"));
  CHECK(lines(output_of("show " + file + " --format markdown")) == 62);

  const std::string csv = output_of("show " + file + " --format csv");
  CHECK(csv.starts_with("point,chip.key0,chip.key1,state,reason,time_s,cost_usd,share\n"));
  CHECK(lines(csv) == 61);

  const auto json = nlohmann::json::parse(output_of("show " + file + " --format json"));
  CHECK(json["schema_version"] == 1);
  CHECK(json["finished"] == 60);
  CHECK(json["keep"] == "all");
  REQUIRE(json["rows"].size() == 60);
  const auto points = all_points(space);
  for (std::size_t i = 0; i < 60; ++i) {
    const auto& row = json["rows"][i];
    CHECK(row["point"] == i);
    if (points[i].state == PointState::ok) CHECK(row["time_s"].get<double>() == points[i].figures[0]);  // every digit
    else CHECK_FALSE(row["reason"].is_null());
    CHECK(row["share"].is_null() == (points[i].state == PointState::impossible || std::isnan(points[i].figures[2])));
  }
}

TEST_CASE("show: the front with the command of each point, and queries of one's own") {
  const FastFolder folder;
  const std::string file = folder.path("a.sqlite");
  const FormulaSpace space({10, 6});
  write_sweep(file, space);
  const auto json = nlohmann::json::parse(output_of("show " + file + " --front --format json"));
  const auto front = front_by_definition(space.objectives(), all_points(space));
  REQUIRE(json["rows"].size() == front.size());
  int knees = 0;
  for (std::size_t i = 0; i < front.size(); ++i) {
    CHECK(json["rows"][i]["point"] == front[i]);
    CHECK(json["rows"][i]["command"] == space.command(space.coordinates_of(front[i])));
    knees += json["rows"][i]["knee"].get<int>();
  }
  CHECK(knees == 1);
  CHECK(output_of("show " + file + " --format csv --sql 'SELECT count(*) AS n, max(point) AS last FROM designs'") == "n,last\n60,59\n");
  CHECK(output_of("show " + file + " --hash").size() == 33);

  for (const std::string sql : {"SELECT nothing FROM designs", "SELEKT"}) {
    const Outcome wrong = program("show " + file + " --sql '" + sql + "'");
    CHECK(wrong.code == 2);
    CHECK(wrong.out.empty());
    CHECK(has(wrong.err, "the views `designs` and `pareto`"));
  }
  const std::string before = output_of("show " + file + " --hash");
  CHECK(program("show " + file + " --sql 'DELETE FROM points'").code == 4);
  CHECK(output_of("show " + file + " --hash") == before);
}

TEST_CASE("show: options of results for what has none, and the other way round") {
  const FastFolder folder;
  const std::string file = folder.path("a.sqlite");
  write_sweep(file, FormulaSpace({2}));
  for (const std::string& arguments : std::vector<std::string>{"show gpt2 --front", "show gpt2 --format csv", "show gpt2 --hash", "show nowhere.sqlite --sql 'SELECT 1'", "show " + file + " --format dot", "show " + file + " --area"}) {
    const Outcome o = program(arguments);
    CHECK_MESSAGE(o.code == 2, arguments);
    CHECK_MESSAGE(has(o.err, "hint: "), arguments);
  }
  CHECK(has(program("show nowhere.sqlite --hash").err, "there is no file 'nowhere.sqlite'"));
  REQUIRE(Database::open(folder.path("b.sqlite"))->execute("CREATE TABLE t(x)").has_value());
  const Outcome other = program("show " + folder.path("b.sqlite"));
  CHECK(other.code == 4);
  CHECK(has(other.err, "is no sweep's result file"));
}

TEST_CASE("merge: shards by the program") {
  const FastFolder folder;
  const FormulaSpace space({10, 6});
  const std::string whole = folder.path("whole.sqlite"), a = folder.path("a.sqlite"), b = folder.path("b.sqlite"), out = folder.path("out.sqlite");
  write_sweep(whole, space);
  write_sweep(a, space, 1, 2);
  write_sweep(b, space, 2, 2);
  CHECK(has(output_of("merge " + out + " " + a), "30 points finished"));
  CHECK(has(output_of("merge " + out + " " + b), "60 points finished: "));
  CHECK(output_of("show " + out + " --hash") == output_of("show " + whole + " --hash"));
  CHECK(output_of("show " + out + " --front --format csv") == output_of("show " + whole + " --front --format csv"));

  write_sweep(folder.path("c.sqlite"), FormulaSpace({10, 7}));
  const Outcome other = program("merge " + out + " " + folder.path("c.sqlite"));
  CHECK(other.code == 3);
  CHECK(has(other.err, "holds a different sweep: its axes are"));
  CHECK(program("merge " + folder.path("d.sqlite") + " " + folder.path("none.sqlite")).code == 4);
  CHECK_FALSE(std::filesystem::exists(folder.path("d.sqlite")));
  CHECK(program("merge " + out).code == 2);
}
