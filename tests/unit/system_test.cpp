// Systems from documents: network levels, pools and hosts, and what is refused.
#include "hardware_support.hpp"

namespace gambrel {
namespace {

using hw::NetworkLevel;
using hw::System;
using hw::TopologyKind;
using test::read_system;
using test::system_complaints;

const std::string chip = R"(chip: small
kind: gpu
compute: {vector: {kind: vector, peak: {fp32: 1 TFLOP/s}}}
memory: [{level: HBM, capacity: 1 GB, bandwidth: 1 TB/s}]
host: {memory: [{level: NVMe, capacity: 1 TB}], link: {bandwidth: 10 GB/s}}
)";

System with_network(const std::string& levels) {
  return read_system("system: s\nchip: small\nnetwork:\n" + levels, {chip});
}
/// `level` stands on line 4 from column 5.
std::string refused(const std::string& level) {
  return system_complaints("system: s\nchip: small\nnetwork:\n  - {" + level + "}\n", chip);
}

TEST_CASE("system: levels from the chip outwards") {
  const System system = with_network(R"(
  - {level: nvlink, topology: switch, size: 8, bandwidth: 450 GB/s, latency: 1.0 us, in_network_reduction: true}
  - {level: infiniband, topology: fat-tree, size: 64, bandwidth: 400 GB/s, per: node, latency: 5 us, oversubscription: 2}
  - {level: metro, topology: ring, size: 3, bandwidth: 1 TB/s, per: link, latency: 1 ms}
)");
  CHECK(system.chips() == 8 * 64 * 3);
  const auto& levels = system.pools.front().network;
  CHECK(levels[0].in_network_reduction);
  CHECK(levels[0].per == NetworkLevel::Per::chip);
  CHECK(levels[0].chips_each == 1);
  CHECK(levels[0].latency.value == doctest::Approx(1e-6));
  CHECK(levels[1].chips_each == 8);
  CHECK(levels[1].member_bandwidth() == BytesPerSecond{400e9});
  CHECK(levels[1].bisection_bandwidth() == BytesPerSecond{400e9 * 32 / 2});
  CHECK(levels[2].chips_each == 512);
  CHECK(levels[2].bisection_bandwidth() == BytesPerSecond{2e12});
}

TEST_CASE("system: a torus takes its size from its shape, and closes each axis unless told otherwise") {
  const System pod = with_network("  - {level: ici, topology: torus, shape: [16, 20, 28], bandwidth: 45 GB/s}\n");
  CHECK(pod.chips() == 8960);
  CHECK(pod.pools.front().network[0].wrap == std::vector<bool>{true, true, true});
  CHECK(pod.pools.front().network[0].per == NetworkLevel::Per::link);
  const System open = with_network(
      "  - {level: ici, topology: torus, size: 16, shape: [4, 4], wrap: [true, false], bandwidth: 45 GB/s}\n");
  CHECK(open.pools.front().network[0].wrap == std::vector<bool>{true, false});
  const System mesh = with_network("  - {level: ici, topology: mesh, shape: [4, 4], bandwidth: 45 GB/s}\n");
  CHECK(mesh.pools.front().network[0].wrap == std::vector<bool>{false, false});
}

TEST_CASE("system: one chip is a system") {
  const System alone = hw::single_chip(test::read_chip(chip));
  CHECK(alone.chips() == 1);
  CHECK(alone.id == "small");
  CHECK(read_system("system: s\nchip: small\n", {chip}).chips() == 1);
}

TEST_CASE("system: its host replaces the chip's") {
  const System system = read_system(
      "system: s\nchip: small\nhost: {memory: [{level: DRAM, capacity: 2 TB, bandwidth: 400 GB/s}, {level: disk, "
      "capacity: 9 TB}],"
      " link: {bandwidth: 64 GB/s, shared_by: 4}}\n",
      {chip});
  REQUIRE(system.chip().host_memory.size() == 2);
  CHECK(system.chip().host_memory[0].level == "DRAM");
  CHECK(system.chip().host_memory[0].capacity == Bytes{2e12});
  CHECK(system.chip().host_link == BytesPerSecond{16e9});
  CHECK(read_system("system: s\nchip: small\n", {chip}).chip().host_memory[0].level == "NVMe");
  const System tiers = read_system("system: s\nchip: small\nhost: {memory: [{level: DRAM, capacity: 2 TB}]}\n", {chip});
  CHECK(tiers.chip().host_memory.size() == 1);
  CHECK(tiers.chip().host_link == BytesPerSecond{10e9});
  CHECK(system_complaints("system: s\nchip: small\nhost: {memory: [{level: HBM}]}\n", chip)
            .starts_with("3:25: memory level 'HBM' is there twice"));
}

const std::string pools = R"(system: s
pools:
  prefill: {chip: small, network: [{level: scale-up, topology: switch, size: 8, bandwidth: 1 TB/s}], count: 2}
  decode: {chip: small, count: 3}
)";

TEST_CASE("system: pools joined by a network") {
  const System system = read_system(pools +
                                        "network:\n  - {level: rail, topology: fat-tree, size: 5, bandwidth: 50 GB/s}\n"
                                        "  - {level: metro, topology: ring, size: 2, bandwidth: 1 TB/s}\n",
                                    {chip, chip});
  REQUIRE(system.pools.size() == 2);
  CHECK(system.pools[0].name == "prefill");
  CHECK(system.pools[0].chips() == 16);
  CHECK(system.pools[1].chips() == 3);
  CHECK(system.between.size() == 2);
  CHECK(system.between[1].chips_each == 19);
  CHECK(system.chips() == 38);
  const System defaulted =
      read_system(pools + "network: [{level: rail, topology: fat-tree, bandwidth: 50 GB/s}]\n", {chip, chip});
  CHECK(defaulted.between[0].size == 5);
  CHECK(defaulted.chips() == 19);
}

TEST_CASE("system: pools that do not fit together") {
  CHECK(system_complaints(pools, chip, 2).starts_with("3:3: nothing joins the pools"));
  CHECK(
      system_complaints(pools + "network: [{level: rail, topology: fat-tree, size: 4, bandwidth: 50 GB/s}]\n", chip, 2)
          .starts_with("5:11: level 'rail' joins 4 members, but the pools have 5 parts"));
  CHECK(system_complaints(pools + "network: [{level: scale-up, topology: fat-tree, bandwidth: 50 GB/s}]\n", chip, 2)
            .starts_with("5:11: network level 'scale-up' is there twice"));
  CHECK(system_complaints(pools + "chip: small\n", chip).find("a chip and pools") != std::string::npos);
}

TEST_CASE("system: which chips a document names, and where") {
  const auto named = hw::chips_of(test::document(pools, "system"));
  REQUIRE(named.size() == 2);
  CHECK(named[0].pool == "prefill");
  CHECK(named[0].chip == "small");
  CHECK(named[0].at.line == 3);
  CHECK(named[0].at.column == 19);
  const auto one = hw::chips_of(test::document("system: s\nchip: small\n", "system"));
  REQUIRE(one.size() == 1);
  CHECK(one[0].pool.empty());
  CHECK(hw::chips_of(test::document("system: s\n", "system")).empty());
  CHECK_FALSE(hw::read_system(test::document("system: s\n", "system"), {}).has_value());
}

TEST_CASE("system: a dragonfly, leaves and measured efficiency") {
  const hw::System system = test::read_system(
      "system: s\nchip: small\nnetwork:\n"
      "  - {level: rail, topology: fat-tree, size: 8, bandwidth: 50 GB/s, oversubscription: 2, leaf: 4, efficiency: 0.9}\n"
      "  - {level: slingshot, topology: dragonfly, shape: [4, 3], bandwidth: 25 GB/s, oversubscription: 2}\n",
      {chip});
  const auto& network = system.pools.front().network;
  CHECK(network[0].leaf == 4);
  CHECK(network[0].efficiency == 0.9);
  CHECK(network[1].efficiency == 0);
  CHECK(network[1].size == 12);
  CHECK(network[1].groups() == 3);
  CHECK(network[1].ports() == 1);
  CHECK(network[1].per == hw::NetworkLevel::Per::chip);
  CHECK(network[1].trunk_bandwidth().value == doctest::Approx(8 * 25e9 * 4 / 2 / 2));
  CHECK(network[1].bisection_bandwidth().value == doctest::Approx(2 * network[1].trunk_bandwidth().value));
  CHECK(refused("level: a, topology: dragonfly, size: 4, bandwidth: 1 GB/s") ==
        "4:5: a dragonfly needs its shape | members of a group and groups, as in `shape: [64, 16]`\n");
  CHECK(refused("level: a, topology: dragonfly, shape: [4, 4, 4], bandwidth: 1 GB/s") ==
        "4:44: a dragonfly's shape has 2 numbers | members of a group and groups, as in `shape: [64, 16]`\n");
  CHECK(refused("level: a, topology: dragonfly, shape: [4, 4], per: link, bandwidth: 1 GB/s")
            .starts_with("4:57: a dragonfly's bandwidth is not of a link | "));
  CHECK(refused("level: a, topology: torus, shape: [4, 4], leaf: 2, bandwidth: 1 GB/s") ==
        "4:54: a torus has no leaf switches | a fat-tree has\n");
}

TEST_CASE("system: levels that are not right") {
  CHECK(refused("level: a, topology: switch, bandwidth: 1 GB/s") ==
        "4:5: the network level has no size | state how many of the level below it joins\n");
  CHECK(refused("level: a, topology: switch, shape: [2, 2], bandwidth: 1 GB/s") ==
        "4:41: a switch has no shape | state `size:`; mesh, torus and dragonfly have a shape\n");
  CHECK(refused("level: a, topology: torus, size: 4, bandwidth: 1 GB/s") ==
        "4:5: a torus needs its shape | 1 to 3 axes, as in `shape: [4, 4, 8]`\n");
  CHECK(refused("level: a, topology: torus, size: 5, shape: [2, 2], bandwidth: 1 GB/s") ==
        "4:39: the size is 5, but the shape's product is 4 | leave the size out: the shape gives it\n");
  CHECK(refused("level: a, topology: mesh, shape: [2, 2], wrap: [true], bandwidth: 1 GB/s") ==
        "4:53: 1 wraps for 2 axes | one true or false for each axis of the shape\n");
  CHECK(refused("level: a, topology: ring, size: 4, wrap: [true], bandwidth: 1 GB/s") ==
        "4:47: a ring has no `wrap` | mesh and torus have\n");
  CHECK(refused("level: a, topology: ring, size: 4, oversubscription: 2, bandwidth: 1 GB/s") ==
        "4:59: a ring has no oversubscription | a fat-tree and a dragonfly have\n");
  CHECK(refused("level: a, topology: torus, shape: [1000000, 1000000], bandwidth: 1 GB/s") ==
        "4:40: the shape has more than 1e9 members | \n");
  CHECK(refused("level: a, topology: switch, size: 100000, bandwidth: 1 GB/s}\n  - {level: b, topology: switch, size: "
                "100000, bandwidth: 1 GB/s") == "5:5: the system has more than 1e9 chips | \n");
  CHECK(refused("level: a, topology: switch, size: 2, bandwidth: 1 GB/s}\n  - {level: a, topology: switch, size: 2, "
                "bandwidth: 1 GB/s") == "5:5: network level 'a' is there twice | give each level a name of its own\n");
}

TEST_CASE("system: the schema refuses what no network has") {
  const auto broken = [](const std::string& level) {
    const auto node = parse_yaml("system: s\nchip: c\nnetwork: [{" + level + "}]\n", "test.yaml");
    REQUIRE(node.has_value());
    return test::complaints(validate(*node, "system"));
  };
  CHECK(broken("level: a, topology: switch, size: 2, bandwidth: 1 GB/s").empty());
  CHECK_FALSE(broken("level: a, topology: switch, size: 2, bandwidth: 0 GB/s").empty());
  CHECK_FALSE(broken("level: a, topology: switch, size: 2").empty());
  CHECK_FALSE(broken("level: a, topology: switch, size: 0, bandwidth: 1 GB/s").empty());
  CHECK_FALSE(broken("level: a, topology: hypercube, size: 2, bandwidth: 1 GB/s").empty());
  CHECK_FALSE(broken("level: a, topology: torus, shape: [2, 2, 2, 2], bandwidth: 1 GB/s").empty());
  CHECK_FALSE(broken("level: a, topology: fat-tree, size: 2, oversubscription: 0.5, bandwidth: 1 GB/s").empty());
}

TEST_CASE("system: errors of its chip are its errors") {
  CHECK(system_complaints("system: s\nchip: small\n", "chip: small\nkind: gpu\n").find("the chip has no memory") !=
        std::string::npos);
}

TEST_CASE("system: both schemas describe a host and its memories alike") {
  const auto chip_schema = parse_json(std::string(schema_text("chip")), "chip.json");
  const auto system_schema = parse_json(std::string(schema_text("system")), "system.json");
  REQUIRE(chip_schema.has_value());
  REQUIRE(system_schema.has_value());
  for (const char* path : {"definitions.host", "definitions.memory"}) {
    const Node* one = find_path(*chip_schema, path);
    const Node* other = find_path(*system_schema, path);
    REQUIRE(one);
    REQUIRE(other);
    CHECK(equal(*one, *other));
  }
}

}  // namespace
}  // namespace gambrel
