#include "training/schedule.h"

#include <algorithm>
#include <cinttypes>
#include <cmath>
#include <cstdio>

#include "training/call_text.h"

namespace fcc::runtime {
namespace {

constexpr double kPi = 3.14159265358979323846;

double cosine_between(double from, double to, double part) {
  return to + (from - to) / 2 * (1 + std::cos(kPi * part));
}

}  // namespace

// steps=, epochs= or per=: what the schedule counts.
fcc_status Schedule::read_length(CallText& call, bool required) {
  std::string per;
  std::vector<double> by_epoch, by_step;
  FCC_RETURN_IF_FAILED(call.numbers("epochs", &by_epoch));
  FCC_RETURN_IF_FAILED(call.numbers("steps", &by_step));
  FCC_RETURN_IF_FAILED(call.word("per", &per));
  if (!per.empty() && per != "step" && per != "epoch")
    return fail(FCC_BAD_ARGUMENT, "schedule \"%s\": per is \"%s\", expected step or epoch", text_.c_str(), per.c_str());
  if (!by_epoch.empty() && !by_step.empty())
    return fail(FCC_BAD_ARGUMENT, "schedule \"%s\" counts either steps or epochs, not both", text_.c_str());
  by_step_ = !by_step.empty() || per == "step";
  const std::vector<double>& given = by_step.empty() ? by_epoch : by_step;
  for (double n : given)
    if (!(n >= 1) || n != std::floor(n) || n > 1e15)
      return fail(FCC_BAD_ARGUMENT, "schedule \"%s\": steps and epochs are whole numbers from 1", text_.c_str());
  if (given.empty() && required)
    return fail(FCC_BAD_ARGUMENT, "schedule \"%s\" lacks its length\n hint: %s(epochs=10) or %s(steps=1000)",
                text_.c_str(), call.name().c_str(), call.name().c_str());
  if (given.size() > 1 && kind_ != Kind::multistep)
    return fail(FCC_BAD_ARGUMENT, "schedule \"%s\" takes one length", text_.c_str());
  if (!given.empty()) length_ = given[0];
  milestones_ = given;
  return FCC_OK;
}

fcc_status Schedule::parse(const std::string& text, Schedule* schedule) {
  struct Form {
    const char* name;
    Kind kind;
    bool has_length;
    const char* takes;
  };
  static constexpr Form kForms[] = {
      {"constant", Kind::constant, false, "warmup"},
      {"step", Kind::step, true, "epochs or steps, gamma, warmup"},
      {"multistep", Kind::multistep, true, "epochs or steps, gamma, warmup"},
      {"exponential", Kind::exponential, false, "gamma, per, warmup"},
      {"cosine", Kind::cosine, true, "epochs or steps, min_lr, warmup"},
      {"restarts", Kind::restarts, true, "epochs or steps, mult, min_lr, warmup"},
      {"linear", Kind::linear, true, "epochs or steps, start, end"},
      {"onecycle", Kind::onecycle, true, "epochs or steps, max_lr, pct_start, div, final_div, anneal, three_phase"},
      {"plateau", Kind::plateau, false,
       "factor, patience, threshold, threshold_mode, mode, cooldown, min_lr, eps, warmup"},
  };
  CallText call;
  FCC_RETURN_IF_FAILED(CallText::parse("schedule", text, &call));
  const Form* form =
      std::find_if(std::begin(kForms), std::end(kForms), [&](const Form& f) { return call.name() == f.name; });
  if (form == std::end(kForms))
    return fail(FCC_BAD_ARGUMENT,
                "there is no schedule \"%s\"\n hint: schedules are constant, step, multistep, exponential, cosine, "
                "restarts, linear, onecycle and plateau",
                call.name().c_str());
  Schedule s;
  s.text_ = text;
  s.kind_ = form->kind;
  FCC_RETURN_IF_FAILED(s.read_length(call, form->has_length));
  double three_phase = 0;
  const std::pair<const char*, double*> numbers[] = {{"gamma", &s.gamma_},
                                                     {"min_lr", &s.min_lr_},
                                                     {"mult", &s.mult_},
                                                     {"start", &s.start_},
                                                     {"end", &s.end_},
                                                     {"warmup", &s.warmup_},
                                                     {"warmup_start", &s.warmup_start_},
                                                     {"max_lr", &s.max_lr_},
                                                     {"pct_start", &s.pct_start_},
                                                     {"div", &s.div_},
                                                     {"final_div", &s.final_div_},
                                                     {"three_phase", &three_phase},
                                                     {"factor", &s.factor_},
                                                     {"patience", &s.patience_},
                                                     {"threshold", &s.threshold_},
                                                     {"cooldown", &s.cooldown_},
                                                     {"eps", &s.eps_}};
  auto takes = [&](const std::string& key) {
    return (std::string(", ") + form->takes + ",").find(" " + key + ",") != std::string::npos;
  };
  for (const auto& [key, value] : numbers)
    if (takes(key) || (takes("warmup") && key == std::string("warmup_start")))
      FCC_RETURN_IF_FAILED(call.number(key, value));
  s.three_phase_ = three_phase != 0;
  std::string anneal = "cos", mode = "min", threshold_mode = "rel";
  if (s.kind_ == Kind::onecycle) FCC_RETURN_IF_FAILED(call.word("anneal", &anneal));
  if (s.kind_ == Kind::plateau) {
    FCC_RETURN_IF_FAILED(call.word("mode", &mode));
    FCC_RETURN_IF_FAILED(call.word("threshold_mode", &threshold_mode));
  }
  s.linear_anneal_ = anneal == "linear";
  s.maximise_ = mode == "max";
  s.absolute_ = threshold_mode == "abs";
  if (s.maximise_) s.best_ = -s.best_;
  bool words = (anneal == "cos" || anneal == "linear") && (mode == "min" || mode == "max") &&
               (threshold_mode == "rel" || threshold_mode == "abs");
  if (!words || s.mult_ < 1 || s.warmup_ < 0 || s.div_ <= 0 || s.final_div_ <= 0 || s.factor_ >= 1 || s.factor_ < 0)
    return fail(FCC_BAD_ARGUMENT, "schedule \"%s\": a value is out of range\n hint: %s takes %s", text.c_str(),
                form->name, form->takes);
  FCC_RETURN_IF_FAILED(call.all_used(form->takes));
  *schedule = std::move(s);
  return FCC_OK;
}

double Schedule::rate(double base, double first_base, int64_t t) const {
  if (warmup_ > 0) {
    if (static_cast<double>(t) < warmup_)
      return base * (warmup_start_ + (1 - warmup_start_) * static_cast<double>(t) / warmup_);
    t -= static_cast<int64_t>(warmup_);
  }
  return plain_rate(base, first_base, t);
}

double Schedule::plain_rate(double base, double first_base, int64_t whole) const {
  auto t = static_cast<double>(whole);
  switch (kind_) {
    case Kind::constant:
      return base;
    case Kind::step:
      return base * std::pow(gamma_, std::floor(t / length_));
    case Kind::multistep:
      return base * std::pow(gamma_, static_cast<double>(std::count_if(milestones_.begin(), milestones_.end(),
                                                                       [t](double m) { return m <= t; })));
    case Kind::exponential:
      return base * std::pow(gamma_, t);
    case Kind::cosine:
      return cosine_between(base, min_lr_, t / length_);
    case Kind::restarts:
      return restarts_rate(base, t);
    case Kind::linear:
      return base * (start_ + (end_ - start_) * std::min(t, length_) / length_);
    case Kind::onecycle:
      return onecycle_rate(base, first_base, t);
    case Kind::plateau:
      return plateau_rate(base);
  }
  return base;
}

double Schedule::restarts_rate(double base, double t) const {
  double length = length_, at = t;
  if (mult_ == 1) {
    at = std::fmod(t, length);
  } else {
    while (at >= length) at -= length, length *= mult_;
  }
  return cosine_between(base, min_lr_, at / length);
}

// Up from max/div to max, then down to max/div/final_div. Momentum does not cycle.
double Schedule::onecycle_rate(double base, double first_base, double t) const {
  double top = max_lr_ > 0 ? max_lr_ * (first_base > 0 ? base / first_base : 1) : base;
  double initial = top / div_, lowest = initial / final_div_;
  double peak = pct_start_ * length_ - 1, last = length_ - 1;
  auto anneal = [&](double from, double to, double begin, double end) {
    double part = end > begin ? std::clamp((t - begin) / (end - begin), 0.0, 1.0) : 1.0;
    return linear_anneal_ ? from + (to - from) * part : cosine_between(from, to, part);
  };
  if (t <= peak) return anneal(initial, top, 0, peak);
  if (!three_phase_) return anneal(top, lowest, peak, last);
  double mirrored = 2 * pct_start_ * length_ - 2;
  return t <= mirrored ? anneal(top, initial, peak, mirrored) : anneal(initial, lowest, mirrored, last);
}

// A reduction smaller than eps is not made, so the rate is not simply a power of the factor.
double Schedule::plateau_rate(double base) const {
  double rate = base;
  for (int64_t i = 0; i < reductions_; ++i) {
    double reduced = std::max(rate * factor_, min_lr_);
    if (rate - reduced > eps_) rate = reduced;
  }
  return rate;
}

void Schedule::observe(double metric) {
  if (kind_ != Kind::plateau) return;
  double margin = maximise_ ? threshold_ : -threshold_;
  double wanted = absolute_ ? best_ + margin : best_ * (1 + margin);
  if (maximise_ ? metric > wanted : metric < wanted) {
    best_ = metric;
    bad_ = 0;
  } else {
    ++bad_;
  }
  if (cooling_ > 0) {
    --cooling_;
    bad_ = 0;
  }
  if (static_cast<double>(bad_) > patience_) {
    ++reductions_;
    cooling_ = static_cast<int64_t>(cooldown_);
    bad_ = 0;
  }
}

std::string Schedule::memory() const {
  if (kind_ != Kind::plateau) return "";
  char text[128];
  std::snprintf(text, sizeof text, "%a %" PRId64 " %" PRId64 " %" PRId64, best_, bad_, cooling_, reductions_);
  return text;
}

bool Schedule::remember(const std::string& memory) {
  if (kind_ != Kind::plateau) return memory.empty();
  return std::sscanf(memory.c_str(), "%la %" SCNd64 " %" SCNd64 " %" SCNd64, &best_, &bad_, &cooling_, &reductions_) ==
         4;
}

}  // namespace fcc::runtime
