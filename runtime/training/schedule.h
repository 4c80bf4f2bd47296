// Learning rates over time, by PyTorch's formulas (torch.optim.lr_scheduler).
//
// A schedule is a pure function of the base rate and of how many steps or epochs have passed, except reduce-on-plateau,
// which also remembers what it has seen; so a checkpoint holds the text and a few numbers. The trainer asks for a rate
// before every step; when it ends epochs is the program's decision.
//
//   constant
//   step(epochs=30, gamma=0.1)                    StepLR: every 30 epochs
//   multistep(epochs=30:80, gamma=0.1)            MultiStepLR
//   exponential(gamma=0.9, per=epoch)             ExponentialLR
//   cosine(epochs=50, min_lr=0)                   CosineAnnealingLR
//   restarts(epochs=10, mult=2, min_lr=0)         CosineAnnealingWarmRestarts
//   linear(steps=500, start=0.333, end=1)         LinearLR
//   onecycle(steps=1000, max_lr=0.01, pct_start=0.3, div=25, final_div=1e4, anneal=cos, three_phase=0)   OneCycleLR
//   plateau(factor=0.1, patience=10, threshold=1e-4, mode=min, threshold_mode=rel, cooldown=0, min_lr=0, eps=1e-8)
//
// steps= instead of epochs= counts steps. warmup=W, warmup_start=S before any of them: SequentialLR of LinearLR(S, 1,
// W) and the schedule, which then begins at W.
#pragma once

#include <limits>
#include <string>
#include <vector>

#include "error.h"

namespace fcc::runtime {

class Schedule {
 public:
  static fcc_status parse(const std::string& text, Schedule* schedule);

  const std::string& text() const { return text_; }
  bool by_step() const { return by_step_; }
  // The rate of a group whose base rate is `base`, when the base of group 0 is `first_base`, before step or epoch t.
  double rate(double base, double first_base, int64_t t) const;
  // Plateau only: at the end of an epoch. `rates` are those of the groups now, to decide what counts as a change.
  void observe(double metric);

  // What a checkpoint keeps beside the text.
  std::string memory() const;
  bool remember(const std::string& memory);

 private:
  enum class Kind { constant, step, multistep, exponential, cosine, restarts, linear, onecycle, plateau };
  double plain_rate(double base, double first_base, int64_t t) const;
  double restarts_rate(double base, double t) const;
  double onecycle_rate(double base, double first_base, double t) const;
  double plateau_rate(double base) const;
  fcc_status read_length(class CallText& call, bool required);

  Kind kind_ = Kind::constant;
  std::string text_ = "constant";
  bool by_step_ = false;
  double length_ = 0, gamma_ = 0.1, min_lr_ = 0, mult_ = 1, start_ = 1.0 / 3, end_ = 1;
  double warmup_ = 0, warmup_start_ = 1.0 / 3;
  std::vector<double> milestones_;
  double max_lr_ = 0, pct_start_ = 0.3, div_ = 25, final_div_ = 1e4;
  bool linear_anneal_ = false, three_phase_ = false;
  double factor_ = 0.1, patience_ = 10, threshold_ = 1e-4, cooldown_ = 0, eps_ = 1e-8;
  bool maximise_ = false, absolute_ = false;
  // plateau's memory
  double best_ = std::numeric_limits<double>::infinity();
  int64_t bad_ = 0, cooling_ = 0, reductions_ = 0;
};

}  // namespace fcc::runtime
