// A sweep over the ranks of mpirun: rank 0 hands out work and is the only one to write; the others evaluate.
#pragma once

#include "sim/sweep/engine_work.hpp"

namespace gambrel::sim {

struct MpiRanks {
  int rank = 0, count = 1;
};

/// Joins the other processes of mpirun; one rank of one without mpirun, or if built without MPI. MPI is left at exit.
MpiRanks mpi_ranks();

/// Of ranks above 0: evaluates what rank 0 sends until rank 0 releases it or `stop` is raised. They open no store and
/// print nothing. Error: the search is unknown.
Result<void> serve_rank(const DesignSpace& space, const SearchOptions& search, const Keep& keep, const std::atomic<bool>* stop);

// Of rank 0.
void evaluate_by_ranks(const std::atomic<bool>* stop, WorkSource& source, BatchWriter& writer);
EvaluateAll evaluate_by_ranks(const std::atomic<bool>* stop);
void release_ranks();

}  // namespace gambrel::sim
