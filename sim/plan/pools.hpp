// What a disaggregated system's pools do: one works prompts in, another generates, a network carries the caches over.
#pragma once

#include <array>
#include <string>

#include "base/quantity.hpp"

namespace gambrel::sim {

/// One pool, which repeats its plan as often as its chips allow.
struct PoolFigures {
  std::string name, chip, plan;  ///< "prefill", "decode"
  double parts = 1, chips = 1;   ///< of the pool; a part is joined to others by the network between the pools
  double replicas = 1;           ///< of its plan
  double batch = 1;              ///< sequences in one replica
  Seconds time{0};               ///< of one batch: until the first token, or all further ones
  double request_rate = 0;       ///< requests a second, if the pool never waited
  double utilisation = 0;        ///< share of the time it works, 0 to 1
  double balanced_parts = 0;     ///< beside the other pool's, for rates within 5 % of each other
};

struct Pools {
  std::array<PoolFigures, 2> pools;  ///< prefill, decode
  std::string bottleneck;            ///< "prefill", "decode" or "network"
  double request_rate = 0;           ///< of the bottleneck
  std::string level;                 ///< that carries the caches
  Bytes cache{0};                    ///< of one request: KV cache and states
  Seconds transfer{0};               ///< of the caches of one prefill batch
  double network_rate = 0;           ///< requests a second whose caches the network can carry
  Seconds ttft_streamed{0};          ///< time to first token if each layer's cache leaves as the layer is done
};

}  // namespace gambrel::sim
